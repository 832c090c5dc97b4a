use crate::{House, kubectl};
use serde_json::{Value, json};
use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

/// Tells the pods of a control plane without nodes as ready, or as succeeded where they are meant to end.
///
/// The embedded server has a simulated node, so there is nothing to do there.
pub struct Pods {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Pods {
    pub fn of(house: &House) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let thread = house.is_external().then(|| {
            let (stop, kubeconfig) = (stop.clone(), house.kubeconfig.clone());
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    tell_all(&kubeconfig);
                    std::thread::sleep(Duration::from_millis(300));
                }
            })
        });
        Self { stop, thread }
    }
}

impl Drop for Pods {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn tell_all(kubeconfig: &Path) {
    let Ok(list) = kubectl(kubeconfig, &["get", "pods", "-A", "-o", "json"], None) else { return };
    let Ok(list) = serde_json::from_str::<Value>(&list) else { return };
    for pod in list["items"].as_array().into_iter().flatten().filter(|pod| pod["status"]["phase"] == "Pending") {
        let (Some(namespace), Some(name)) = (pod["metadata"]["namespace"].as_str(), pod["metadata"]["name"].as_str()) else { continue };
        let ends = pod["spec"]["restartPolicy"] != "Always";
        let status = if ends {
            json!({"status": {"phase": "Succeeded"}})
        } else {
            let now = jiff::Timestamp::now().to_string();
            json!({"status": {"phase": "Running", "startTime": now, "conditions": [
                {"type": "Ready", "status": "True", "lastTransitionTime": now},
                {"type": "ContainersReady", "status": "True", "lastTransitionTime": now},
            ]}})
        };
        let patch = status.to_string();
        let _ = kubectl(kubeconfig, &["patch", "pod", name, "-n", namespace, "--subresource=status", "--type=merge", "-p", &patch], None);
    }
}
