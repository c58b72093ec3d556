use std::os::fd::AsFd;

use super::*;

fn temp(name: &str) -> (std::path::PathBuf, OwnedFd) {
    let path = std::env::temp_dir().join(format!("hostel-notify-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&path).unwrap();
    let fd = rustix::fs::open(&path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap();
    (path, fd)
}

fn own_pid() -> i32 {
    std::process::id() as i32
}

#[test]
fn parse() {
    let seen = Message::parse(b"READY=1\nSTATUS=up \x1b[31mand\trunning\nERRNO=2\nEXIT_STATUS=300\nX_SYSTEMD_SIGNALS_LEVEL=2\n=\nx\nREADY=0");
    let expected = Message { ready: true, status: Some("up [31mandrunning".into()), errno: Some(2), signals_level: Some(2), ..Message::default() };
    assert_eq!(seen, expected);
    assert_eq!(Message::parse(b""), Message::default());
    let long = [b"STATUS=".to_vec(), "é".repeat(400).into_bytes()].concat();
    assert_eq!(Message::parse(&long).status.unwrap().len(), 512);
    assert_eq!(Message::parse(b"STATUS=\xff\xfe").status.unwrap(), "\u{fffd}\u{fffd}");
}

#[test]
fn only_the_leader_is_heard() {
    let (path, dir) = temp("leader");
    let receiver = Receiver::bind(dir.as_fd(), "notify").unwrap();
    let socket = path.join("notify");
    let socket = socket.to_str().unwrap();
    assert_eq!(receiver.receive(own_pid()).unwrap(), None);
    send(socket, "READY=1\nSTATUS=x").unwrap();
    assert!(receiver.receive(own_pid()).unwrap().unwrap().ready);
    send(socket, "READY=1").unwrap();
    assert_eq!(receiver.receive(own_pid() + 1).unwrap(), None, "another process");
    send(socket, &format!("READY=1\nSTATUS={}", "x".repeat(MAX_MESSAGE))).unwrap();
    assert_eq!(receiver.receive(own_pid()).unwrap(), None, "too long");
    assert_eq!(receiver.receive(own_pid()).unwrap(), None);
    std::fs::remove_dir_all(path).unwrap();
}

#[test]
fn descriptors_are_passed_on() {
    let (path, dir) = temp("store");
    let receiver = Receiver::bind(dir.as_fd(), "notify").unwrap();
    let socket = path.join("notify");
    let (r, w) = rustix::pipe::pipe().unwrap();
    let several: Vec<_> = std::iter::repeat_n(w.as_fd(), 253).collect();
    send_with(socket.to_str().unwrap(), "FDSTORE=1\nFDNAME=a b\nFDPOLL=0", &several).unwrap();
    let (message, descriptors) = receiver.receive_with(own_pid()).unwrap().unwrap();
    let expected = Message { store: true, name: Some("a b".into()), unpolled: true, ..Message::default() };
    assert_eq!((message, descriptors.len()), (expected, 253));
    drop(several);
    drop(w);
    rustix::io::write(&descriptors[252], b"x").unwrap();
    drop(descriptors);
    assert_eq!(rustix::io::read(&r, &mut [0; 2]), Ok(1));
    assert_eq!(rustix::io::read(&r, &mut [0; 2]), Ok(0), "no copy of the writing end is left");
    // what somebody else sends is closed
    let (r, w) = rustix::pipe::pipe().unwrap();
    send_with(socket.to_str().unwrap(), "FDSTORE=1", &[w.as_fd()]).unwrap();
    drop(w);
    assert!(receiver.receive_with(own_pid() + 1).unwrap().is_none());
    assert_eq!(rustix::io::read(&r, &mut [0; 1]), Ok(0));
    assert_eq!(Message::parse(b"FDNAME=a:b").name, None);
    assert_eq!(Message::parse("FDNAME=\u{e9}".as_bytes()).name, None);
    std::fs::remove_dir_all(path).unwrap();
}

#[test]
fn descriptors_sent_along_are_dropped() {
    use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, sendmsg_addr};
    let (path, dir) = temp("fds");
    let receiver = Receiver::bind(dir.as_fd(), "notify").unwrap();
    let (r, w) = rustix::pipe::pipe().unwrap();
    let own = socket_with(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None).unwrap();
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let fds = [w.as_fd()];
    assert!(control.push(SendAncillaryMessage::ScmRights(&fds)));
    let address = SocketAddrUnix::new(path.join("notify")).unwrap();
    let text = [std::io::IoSlice::new(b"FDSTORE=1\nREADY=1")];
    sendmsg_addr(&own, &address, &text, &mut control, SendFlags::empty()).unwrap();
    assert!(receiver.receive(own_pid()).unwrap().unwrap().ready);
    drop(w);
    assert_eq!(rustix::io::read(&r, &mut [0; 1]), Ok(0), "no copy of the writing end is left");
    std::fs::remove_dir_all(path).unwrap();
}

#[test]
fn all_kinds_of_addresses() {
    let name = format!("hostel-notify-test-{}", std::process::id());
    let fd = socket_with(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None).unwrap();
    rustix::net::bind(&fd, &SocketAddrUnix::new_abstract_name(name.as_bytes()).unwrap()).unwrap();
    let receiver = Receiver::from_socket(fd).unwrap();
    send(&format!("@{name}"), "READY=1").unwrap();
    assert!(receiver.receive(own_pid()).unwrap().unwrap().ready);

    let (path, dir) = temp(&"x".repeat(150));
    let receiver = Receiver::bind(dir.as_fd(), "notify").unwrap();
    send(path.join("notify").to_str().unwrap(), "READY=1").unwrap();
    assert!(receiver.receive(own_pid()).unwrap().unwrap().ready);
    std::fs::remove_dir_all(path).unwrap();

    for (bad, errno) in [("", Errno::AFNOSUPPORT), ("@", Errno::AFNOSUPPORT), ("vsock:2:3", Errno::AFNOSUPPORT), ("/nonexistent/x", Errno::NOENT)] {
        assert_eq!(send(bad, "READY=1"), Err(errno), "{bad}");
    }
}

#[test]
fn a_full_queue_does_not_hang_the_sender() {
    let name = format!("@hostel-notify-full-{}", std::process::id());
    let fd = socket_with(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None).unwrap();
    rustix::net::bind(&fd, &SocketAddrUnix::new_abstract_name(&name.as_bytes()[1..]).unwrap()).unwrap();
    let start = std::time::Instant::now();
    let mut result = Ok(());
    for _ in 0..100_000 {
        result = send(&name, "STATUS=x");
        if result.is_err() {
            break;
        }
    }
    assert_eq!(result, Err(Errno::AGAIN));
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[test]
fn in_a_detached_file_system() {
    use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};
    let Ok(fs) = rustix::mount::fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC) else {
        println!("skipped: not root");
        return;
    };
    rustix::mount::fsconfig_create(fs.as_fd()).unwrap();
    let mount = rustix::mount::fsmount(fs.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty()).unwrap();
    let receiver = Receiver::bind(mount.as_fd(), "notify").unwrap();
    let through = format!("/proc/self/fd/{}/notify", std::os::fd::AsRawFd::as_raw_fd(&mount));
    send(&through, "READY=1").unwrap();
    assert!(receiver.receive(own_pid()).unwrap().unwrap().ready);
}
