//! `$NOTIFY_SOCKET`, both of them: what our service manager is told of a machine, and when; and who inside is listened to.

use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use hostel_tests::{Bed, Invocation, Tree, eventually};

/// A service manager that only listens.
struct Manager {
    socket: UnixDatagram,
    path: std::path::PathBuf,
}

impl Manager {
    fn new(bed: &Bed) -> Manager {
        let path = bed.fresh("manager").join("notify");
        let socket = UnixDatagram::bind(&path).expect("bind");
        socket.set_read_timeout(Some(Duration::from_secs(10))).expect("timeout");
        Manager { socket, path }
    }
    #[track_caller]
    fn hears(&self) -> String {
        let mut buffer = [0; 4096];
        let n = self.socket.recv(&mut buffer).expect("a message");
        String::from_utf8_lossy(&buffer[..n]).into_owned()
    }
    /// Everything until the machine's end is over.
    fn rest(&self) -> String {
        self.socket.set_nonblocking(true).expect("nonblocking");
        let mut all = String::new();
        let mut buffer = [0; 4096];
        while let Ok(n) = self.socket.recv(&mut buffer) {
            all.push_str(&String::from_utf8_lossy(&buffer[..n]));
            all.push('|');
        }
        all
    }
}

fn machine(bed: &Bed, tree: &Tree, manager: &Manager, words: &[&str]) -> Invocation {
    bed.nspawn(tree, words).env("NOTIFY_SOCKET", &manager.path)
}

fn phase(bed: &Bed, tree: &Tree) -> String {
    let text = std::fs::read_to_string(bed.state_of(&tree.name()).join("state.json")).unwrap_or_default();
    let state: hostel_tests::Value = text.parse().unwrap_or_default();
    state["phase"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn ready_is_said_at_the_start_unless_the_machine_says_it() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.little();
    let manager = Manager::new(&bed);
    machine(&bed, &tree, &manager, &["/probe", "notify", "STATUS=at work", "then", "exit", "0"]).run().exits(0);
    let first = manager.hears();
    assert!(first.starts_with("READY=1\nSTATUS=Machine running.\nX_NSPAWN_LEADER_PID="), "{first}");
    assert!(first.trim().rsplit('=').next().is_some_and(|pid| pid.parse::<u32>().is_ok_and(|pid| pid > 1)), "{first}");
    assert_eq!(manager.rest(), "STATUS=Machine running: at work\n|");
}

#[test]
fn ready_waits_for_pid_1_and_nobody_else() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.little();
    let manager = Manager::new(&bed);
    let script = "/probe notify READY=1; echo asked; read line; exec /probe notify READY=1 then sleep";
    let mut running = machine(&bed, &tree, &manager, &["--notify-ready=yes", "--kill-signal=SIGTERM", "-P", "sh", "-c", script]).open_input().start();
    running.expect("asked");
    let first = manager.hears();
    assert!(first.starts_with("STATUS=Machine running.\nX_NSPAWN_LEADER_PID="), "{first}");
    assert_eq!(phase(&bed, &tree), "starting", "a child of PID 1 was believed");
    assert_eq!(manager.rest(), "");
    running.write("go\n");
    manager.socket.set_nonblocking(false).expect("blocking");
    assert_eq!(manager.hears(), "READY=1\nSTATUS=Machine running.\n");
    assert!(eventually(Duration::from_secs(5), || phase(&bed, &tree) == "running"));
    running.signal(hostel_tests::Signal::TERM);
    running.finish(Duration::from_secs(10)).exits(0);
    assert_eq!(manager.rest(), "STOPPING=1\nSTATUS=Stopping the machine.|");
}

/// What the next datagram says, and what is in the files that came along.
fn kept(manager: &Manager) -> (String, Vec<String>) {
    use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut buffer = [0; 4096];
    let got = recvmsg(&manager.socket, &mut [std::io::IoSliceMut::new(&mut buffer)], &mut control, RecvFlags::CMSG_CLOEXEC).expect("recvmsg");
    let mut files = Vec::new();
    for message in control.drain() {
        let RecvAncillaryMessage::ScmRights(descriptors) = message else { continue };
        for descriptor in descriptors {
            let mut text = [0; 64];
            let length = rustix::io::pread(&descriptor, &mut text, 0).expect("read what is kept");
            files.push(String::from_utf8_lossy(&text[..length]).into_owned());
        }
    }
    (String::from_utf8_lossy(&buffer[..got.bytes]).into_owned(), files)
}

/// systemd-nspawn 261 passes on what a machine wants to be kept, under names that cannot be its own.
#[test]
fn descriptors_are_kept_by_our_service_manager() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.little();
    let manager = Manager::new(&bed);
    let words = "/probe notify-store FDSTORE=1\\nFDNAME=disk\\nFDPOLL=0 precious then notify-store FDSTORE=1 nameless \
        then notify FDSTOREREMOVE=1\\nFDNAME=disk then notify FDSTORE=1 then notify-store STATUS=no dropped";
    machine(&bed, &tree, &manager, &words.split_whitespace().collect::<Vec<_>>()).run().exits(0).prints("stored\nstored\nnotified\nnotified\nstored");
    assert!(manager.hears().starts_with("READY=1\n"));
    assert_eq!(kept(&manager), ("FDSTORE=1\nFDNAME=payload-disk\nFDPOLL=0".into(), vec!["precious".into()]));
    assert_eq!(kept(&manager), ("FDSTORE=1\nFDNAME=payload-stored".into(), vec!["nameless".into()]));
    assert_eq!(kept(&manager), ("FDSTOREREMOVE=1\nFDNAME=payload-disk".into(), vec![]));
    assert_eq!(kept(&manager), ("STATUS=Machine running: no\n".into(), vec![]));
}

#[test]
fn nonsense_harms_nobody() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.little();
    let manager = Manager::new(&bed);
    let words = ["--notify-ready=yes", "/probe", "notify-badly", "then", "notify", "STATUS=\x1b[31mstill\x07 here", "then", "say", "done"];
    machine(&bed, &tree, &manager, &words).run().exits(0).prints_with("sent some with 60 descriptors").prints_with("done");
    let all = manager.rest();
    assert!(!all.contains("READY=1"), "{all}");
    assert!(all.ends_with("STATUS=Machine running: [31mstill here\n|"), "{all}");
}

#[test]
fn a_watchdog_hears_of_us() {
    let Some(bed) = Bed::start() else { return };
    let tree = bed.little();
    let manager = Manager::new(&bed);
    machine(&bed, &tree, &manager, &["/probe", "sleep", "1"]).env("WATCHDOG_USEC", "400000").run().exits(0);
    let all = manager.rest();
    let signs = all.matches("WATCHDOG=1").count();
    assert!((3..=7).contains(&signs), "{signs} signs of life in a second, wanted one each 200 ms: {all}");
}
