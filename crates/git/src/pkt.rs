//! Git's pkt-lines: four hexadecimal digits of length, then the content.

/// Longest content of a line.
pub(crate) const CONTENT_MAX: usize = 65516;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Line<'a> {
    Flush,
    Delimiter,
    Data(&'a [u8]),
}

pub(crate) const FLUSH: &[u8] = b"0000";
pub(crate) const DELIMITER: &[u8] = b"0001";

/// Appends a line; content beyond the longest is the caller's to split.
pub(crate) fn put(out: &mut Vec<u8>, content: &[u8]) {
    debug_assert!(content.len() <= CONTENT_MAX);
    out.extend_from_slice(format!("{:04x}", content.len() + 4).as_bytes());
    out.extend_from_slice(content);
}

/// Takes the first line off `rest`; `None` where none is, or a broken one.
pub(crate) fn take<'a>(rest: &mut &'a [u8]) -> Option<Line<'a>> {
    let (digits, after) = rest.split_at_checked(4)?;
    let len = usize::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    match len {
        0 => *rest = after,
        1 => *rest = after,
        2 | 3 => return None,
        len => {
            let (content, next) = after.split_at_checked(len - 4)?;
            *rest = next;
            return Some(Line::Data(content.strip_suffix(b"\n").unwrap_or(content)));
        }
    }
    Some(if len == 0 { Line::Flush } else { Line::Delimiter })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_written_and_read_back() {
        let mut out = Vec::new();
        put(&mut out, b"command=fetch\n");
        out.extend_from_slice(DELIMITER);
        out.extend_from_slice(FLUSH);
        assert_eq!(&out[..4], b"0012");
        let mut rest = &out[..];
        assert_eq!(take(&mut rest), Some(Line::Data(b"command=fetch")));
        assert_eq!((take(&mut rest), take(&mut rest), take(&mut rest)), (Some(Line::Delimiter), Some(Line::Flush), None));
    }

    #[test]
    fn broken_lines_are_none() {
        for bad in [&b"00"[..], b"zzzz", b"0002", b"0010abc", b"\xff\xff\xff\xff"] {
            let mut rest = bad;
            assert_eq!(take(&mut rest), None, "{bad:?}");
        }
    }
}
