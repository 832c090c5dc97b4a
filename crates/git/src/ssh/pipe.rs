use super::Connection;
use crate::session::{Service, Shared};
use crate::{Address, Cause};
use bytes::{Buf, Bytes};
use gix_transport::Protocol;
use gix_transport::client::blocking_io::Transport;
use gix_transport::client::git::{ConnectMode, blocking_io};
use russh::ChannelMsg;
use russh::client::Msg;
use russh::{ChannelReadHalf, ChannelWriteHalf};
use std::io::{self, Read, Write};
use tokio::runtime::Handle;

/// Bytes of what the server's program complains of that are shown.
const COMPLAINT_MAX: usize = 1024;

/// A transport for gix that speaks to a service of `address`.
pub(crate) fn transport(session: &Shared, address: &Address, service: Service) -> Result<Box<dyn Transport>, Cause> {
    let path = crate::address::decode(address.url().path());
    // `/~user/x` is below the home of a user, as Git has it.
    let path = path.strip_prefix('/').filter(|rest| rest.starts_with('~')).unwrap_or(&path).to_owned();
    let (program, protocol) = match service {
        Service::Fetch => ("git-upload-pack", Some("version=2")),
        Service::Push => ("git-receive-pack", None),
    };
    let command = format!("{program} {}", quoted(&path));
    let mut inner = session.borrow_mut();
    let (runtime, timeout) = (inner.runtime.clone(), inner.remaining());
    if inner.ssh.is_none() {
        let Some(login) = &inner.login else { return Err(Cause::Ssh("ssh: no identity".to_owned())) };
        inner.ssh = Some(Connection::connect(&runtime, login, timeout)?);
    }
    inner.requests += 1;
    let Some(connection) = &inner.ssh else { return Err(Cause::Ssh("ssh: no connection".to_owned())) };
    let channel = connection.run(&command, protocol, timeout)?;
    let (read, write) = channel.split();
    drop(inner);
    let reader = Reader {
        half: Some(read),
        chunk: Bytes::new(),
        complaint: Vec::new(),
        received: false,
        ended: false,
        runtime: runtime.clone(),
        session: session.clone(),
        address: address.to_string(),
    };
    let writer = Writer { half: Some(write), runtime, session: session.clone() };
    let url = address.url().as_str();
    let connection =
        blocking_io::Connection::new(reader, writer, Protocol::V2, path, None::<(&str, Option<u16>)>, ConnectMode::Process, false);
    Ok(Box::new(connection.custom_url(Some(url.into()))))
}

/// One word for the server's shell, whatever it holds.
fn quoted(path: &str) -> String {
    format!("'{}'", path.replace('\'', "'\\''"))
}

/// What the server's program says.
struct Reader {
    half: Option<ChannelReadHalf>,
    chunk: Bytes,
    /// What it wrote to its standard error.
    complaint: Vec<u8>,
    received: bool,
    ended: bool,
    runtime: Handle,
    session: Shared,
    address: String,
}

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.chunk.is_empty() && !self.ended {
            self.next()?;
        }
        let count = self.chunk.len().min(buffer.len());
        self.chunk.copy_to_slice(&mut buffer[..count]);
        Ok(count)
    }
}

impl Reader {
    fn next(&mut self) -> io::Result<()> {
        let Some(half) = &mut self.half else { return Ok(()) };
        let remaining = self.session.borrow().remaining();
        let message = self.runtime.block_on(async { tokio::time::timeout(remaining, half.wait()).await });
        match message {
            Err(_) => return Err(self.session.borrow_mut().fail(Cause::Ssh("ssh: context deadline exceeded".to_owned()))),
            Ok(Some(ChannelMsg::Data { data })) => {
                self.session.borrow_mut().spend(data.len())?;
                self.received = true;
                self.chunk = data;
            }
            Ok(Some(ChannelMsg::ExtendedData { data, .. })) => {
                let room = COMPLAINT_MAX.saturating_sub(self.complaint.len());
                self.complaint.extend_from_slice(&data[..data.len().min(room)]);
            }
            Ok(Some(ChannelMsg::ExitStatus { exit_status })) if exit_status != 0 && !self.received => return Err(self.failed()),
            Ok(Some(ChannelMsg::Failure | ChannelMsg::OpenFailure(_))) => return Err(self.failed()),
            Ok(None | Some(ChannelMsg::Close)) => {
                self.ended = true;
                if !self.received {
                    return Err(self.failed());
                }
            }
            Ok(Some(_)) => {}
        }
        Ok(())
    }

    /// The program ended before it said anything of use.
    fn failed(&mut self) -> io::Error {
        self.ended = true;
        let text = String::from_utf8_lossy(&self.complaint);
        let text: String = text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let missing = ["does not appear to be a git repository", "not found", "does not exist", "no such"];
        let lower = text.to_ascii_lowercase();
        let cause = match text.as_str() {
            "" => Cause::Ssh("ssh: the server ended the conversation".to_owned()),
            _ if missing.iter().any(|words| lower.contains(words)) => Cause::NotFound(self.address.clone()),
            text => Cause::Ssh(format!("ssh: the server said: {text}")),
        };
        self.session.borrow_mut().fail(cause)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let _inside = self.runtime.enter();
        self.half.take();
    }
}

/// What it is told.
struct Writer {
    half: Option<ChannelWriteHalf<Msg>>,
    runtime: Handle,
    session: Shared,
}

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(half) = &self.half else { return Ok(0) };
        let remaining = self.session.borrow().remaining();
        let data = Bytes::copy_from_slice(bytes);
        let sent = self.runtime.block_on(async { tokio::time::timeout(remaining, half.data_bytes(data)).await });
        let why = match sent {
            Ok(Ok(())) => return Ok(bytes.len()),
            Ok(Err(error)) => format!("ssh: {error}"),
            Err(_) => "ssh: context deadline exceeded".to_owned(),
        };
        Err(self.session.borrow_mut().fail(Cause::Ssh(why)))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if let Some(half) = self.half.take() {
            // The program ends when it has nothing more to expect; it need not be waited for.
            let _inside = self.runtime.enter();
            let remaining = self.session.borrow().remaining();
            let _ = self.runtime.block_on(async { tokio::time::timeout(remaining, half.close()).await });
            drop(half);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_one_word_for_the_shell() {
        assert_eq!(quoted("/a b.git"), "'/a b.git'");
        assert_eq!(quoted("/x'; rm -rf ~; '"), "'/x'\\''; rm -rf ~; '\\'''");
    }
}
