//! Supervisors that say what they should not, and containers at rest.

use std::io::{Read, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use hostel_lxc::wire::{self, Command, HEAD, Head, News};
use rustix::io::Errno;

use crate::*;

/// A place of this test's own.
struct Place(PathBuf);

impl Place {
    fn new() -> Place {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("hostel-container-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Place(path)
    }
    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
    fn container(&self, name: &str) -> Container {
        Container::new(name, Some(self.path())).unwrap()
    }
    fn names(&self) -> Vec<String> {
        list_defined(self.path()).unwrap()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
        let _ = std::fs::remove_dir_all(format!("/run/lxc/lock{}", self.path()));
    }
}

type Reply = Box<dyn Fn(&mut UnixStream, Head) + Send>;

/// A supervisor that answers one request after the other.
fn supervisor(container: &Container, answers: Vec<Reply>) -> JoinHandle<()> {
    let address = SocketAddr::from_abstract_name(wire::address(&container.lxcpath, &container.name)).unwrap();
    let listener = UnixListener::bind_addr(&address).unwrap();
    std::thread::spawn(move || {
        for answer in answers {
            let mut stream = listener.accept().unwrap().0;
            let mut head = [0; HEAD];
            stream.read_exact(&mut head).unwrap();
            let head = Head::of(&head, wire::MOST).unwrap();
            stream.read_exact(&mut vec![0; head.length as usize]).unwrap();
            answer(&mut stream, head);
        }
    })
}

fn says(bytes: Vec<u8>) -> Reply {
    Box::new(move |stream, _| stream.write_all(&bytes).unwrap())
}

#[test]
fn what_supervisors_say_is_looked_at() {
    let place = Place::new();
    let mut container = place.container("c");
    assert_eq!(container.state(), Ok(State::Stopped));
    let mut huge = Head::with(0, 0, b"");
    huge[4..8].copy_from_slice(&i32::MAX.to_le_bytes());
    let mut negative = Head::with(0, 0, b"");
    negative[4..8].copy_from_slice(&(-1i32).to_le_bytes());
    let served = supervisor(
        &container,
        vec![
            Box::new(|stream, head| {
                assert_eq!(Command::of(head.number), Some(Command::GetState));
                stream.write_all(&Head::with(0, State::Running as u64, b"")).unwrap();
            }),
            says(Head::with(0, 99, b"")),
            says(vec![1, 2, 3]),
            says(huge),
            says(negative),
            says(Head::with(i32::MIN, 0, b"")),
            says(Head::with(-1, 0, b"")),
            says(Head::with(0, 0, b"web\0")),
            says(Head::with(0, 0, b"we\0b\0")),
            says(Head::with(0, 0, b"web")),
            says(Head::with(0, 0, b"/../../etc\0")),
            says(Head::with(0, u64::MAX, b"")),
            // no descriptor comes along
            says(Head::with(0, 1, b"")),
            Box::new(|_, _| std::thread::sleep(Duration::from_millis(400))),
        ],
    );
    let number = |result: Result<State>| result.map_err(|e| e.number);
    assert_eq!(container.state(), Ok(State::Running));
    assert_eq!(number(container.state()), Err(Errno::BADMSG.raw_os_error()), "there is no state 99");
    assert_eq!(number(container.state()), Err(Errno::PIPE.raw_os_error()), "half an answer");
    assert_eq!(number(container.state()), Err(Errno::BADMSG.raw_os_error()), "2 GB");
    assert_eq!(number(container.state()), Err(Errno::BADMSG.raw_os_error()), "-1 bytes");
    assert_eq!(number(container.state()), Err(Errno::BADMSG.raw_os_error()), "no errno");
    assert!(!{ container.may_control() }, "EPERM");
    assert_eq!(container.get_running_config_item("lxc.uts.name").unwrap().as_deref(), Some("web"));
    assert!(container.get_running_config_item("lxc.uts.name").is_err(), "a NUL within");
    assert!(container.get_running_config_item("lxc.uts.name").is_err(), "no NUL");
    assert!(container.cgroup_path("memory").is_err(), "outside of its hierarchy");
    assert!(container.init_pid().is_err(), "no pid");
    assert!(container.init_pidfd().is_err());
    container.set_timeout(Some(Duration::from_millis(100)));
    assert_eq!(number(container.state()), Err(Errno::TIMEDOUT.raw_os_error()), "it hangs");
    served.join().unwrap();
}

#[test]
fn states_are_waited_for() {
    let place = Place::new();
    let container = place.container("c");
    let frozen = |stream: &mut UnixStream, head: Head| {
        assert_eq!((Command::of(head.number), head.length), (Some(Command::AddStateClient), 32));
        stream.write_all(&Head::with(0, 8, b"")).unwrap();
        std::thread::sleep(Duration::from_millis(20));
        stream.write_all(&wire::news("c", News::State(State::Frozen))).unwrap();
    };
    let silent = |stream: &mut UnixStream, _: Head| {
        stream.write_all(&Head::with(0, 8, b"")).unwrap();
        std::thread::sleep(Duration::from_millis(300));
    };
    let served = supervisor(
        &container,
        vec![
            says(Head::with(0, State::Running as u64, b"")),
            Box::new(frozen),
            Box::new(silent),
            // it hangs up: the container has stopped
            says(Head::with(0, 8, b"")),
            Box::new(|_, head| assert_eq!(Command::of(head.number), Some(Command::Stop))),
        ],
    );
    let soon = Some(Duration::from_millis(100));
    assert_eq!(container.wait("RUNNING", soon), Ok(true));
    assert_eq!(container.wait("FROZEN", Some(Duration::from_secs(9))), Ok(true));
    assert_eq!(container.wait("FROZEN|STOPPED", soon), Ok(false));
    assert_eq!(container.wait("STOPPED", Some(Duration::from_secs(9))), Ok(true));
    assert!(container.wait("SLEEPING", soon).is_err());
    assert_eq!(container.stop(), Ok(()));
    served.join().unwrap();
    assert_eq!(container.wait("RUNNING", soon), Ok(false), "nobody listens");
}

#[test]
fn configurations_are_kept() {
    let place = Place::new();
    let mut container = place.container("c");
    assert!(container.get_config_item("lxc.uts.name").is_err() && container.get_keys(None).is_err());
    let text = "# mine\nlxc.uts.name = one\nlxc.group = a\n";
    container.load_text("", text).unwrap();
    container.set_config_item("lxc.group", "b").unwrap();
    container.save_config(None).unwrap();
    assert_eq!(place.names(), ["c"]);
    assert_eq!(std::fs::read_to_string(container.config_file_name()).unwrap(), format!("{text}lxc.group = b\n"));
    let mode = |path: &str| std::fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode(&container.config_file_name()), mode(container.directory().to_str().unwrap())), (0o640, 0o770));
    let mut again = place.container("c");
    assert_eq!(again.get_config_item("lxc.group").unwrap(), "a\nb\n");
    again.clear_config_item("lxc.group").unwrap();
    again.clear_config();
    assert!(again.config.is_none());
    std::fs::write(container.config_file_name(), "lxc.bogus = 1\n").unwrap();
    let error = Container::new("c", Some(place.path())).unwrap_err();
    assert!(error.text.ends_with("c/config:1: lxc.bogus: there is no such key"), "{error}");
    for name in ["", ".", "..", "a/b", "a\nb"] {
        assert_eq!(Container::new(name, Some(place.path())).unwrap_err().number, 22, "{name:?}");
    }
}

#[test]
fn what_is_half_made_is_no_container() {
    let place = Place::new();
    let mut container = place.container("c");
    container.load_text("", "lxc.group = a\n").unwrap();
    container.save_config(None).unwrap();
    std::fs::create_dir_all(container.directory().join("rootfs/etc")).unwrap();
    let claim = partial::claim(&container, "test").unwrap();
    assert!(!container.is_defined() && place.names().is_empty());
    assert_eq!(partial::claim(&container, "test").err().unwrap().number, Errno::BUSY.raw_os_error());
    std::thread::sleep(Duration::from_millis(150));
    place.container("c");
    assert!(container.directory().join("config").exists(), "it is being made");
    // its maker is killed
    drop(claim);
    if rustix::process::geteuid().is_root() {
        place.container("c");
        assert!(!container.directory().exists());
    }
}

#[test]
fn copies_and_snapshots() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: not root");
        return;
    }
    let place = Place::new();
    let mut one = place.container("one");
    let rootfs = one.directory().join("rootfs");
    std::fs::create_dir_all(rootfs.join("etc")).unwrap();
    std::fs::write(rootfs.join("etc/hostname"), "one\n").unwrap();
    let hook = one.directory().join("hook");
    std::fs::write(&hook, "#!/bin/sh\necho \"$*\" $LXC_SRC_NAME >$LXC_ROOTFS_MOUNT/hooked\n").unwrap();
    std::fs::set_permissions(&hook, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::write(one.directory().join("fstab"), "x\n").unwrap();
    let text = format!(
        "lxc.net.0.type = veth\nlxc.net.0.hwaddr = 00:16:3e:00:00:01\nlxc.rootfs.path = dir:{0}/rootfs\nlxc.uts.name = one\n\
         lxc.hook.clone = {0}/hook a\nlxc.hook.start-host = {0}/hook\nlxc.mount.fstab = {0}/fstab\n",
        one.directory().display()
    );
    one.load_text("", &text).unwrap();
    one.save_config(None).unwrap();

    let options = CloneOptions { hook_arguments: vec!["$(b)".into()], ..Default::default() };
    let two = one.clone_to("two", None, &options).unwrap();
    let read = |container: &Container, name: &str| std::fs::read_to_string(container.directory().join(name)).unwrap();
    assert_eq!(read(&two, "rootfs/etc/hostname"), "two\n");
    assert_eq!(read(&two, "rootfs/hooked"), "a two lxc clone $(b) one\n");
    assert_eq!(read(&two, "fstab"), "x\n");
    for (key, value) in [("lxc.uts.name", "two".to_owned()), ("lxc.hook.start-host", format!("{}/hook\n", two.directory().display()))] {
        assert_eq!(two.get_config_item(key).unwrap(), value);
    }
    let mac = two.get_config_item("lxc.net.0.hwaddr").unwrap();
    assert!(mac.starts_with("00:16:3e:") && mac != "00:16:3e:00:00:01", "{mac}");
    assert_eq!(one.clone_to("two", None, &options).unwrap_err().number, Errno::EXIST.raw_os_error());

    // one that stands on it
    let mut over = one.clone_to("over", None, &CloneOptions { snapshot: true, keep_name: true, ..Default::default() }).unwrap();
    assert_eq!(over.get_config_item("lxc.uts.name").unwrap(), "one");
    assert_eq!(read(&one, "lxc_snapshots"), format!("{}\nover\n", place.path()));
    assert!(one.destroy().unwrap_err().text.contains("has clones"));
    assert!(one.rename("three").unwrap_err().text.contains("has clones"));
    std::fs::write(over.directory().join("overlay/delta/new"), "").unwrap();
    let number = over.snapshot(None).unwrap();
    assert_eq!((number, over.snapshot_list().unwrap()[0].timestamp.as_ref().map(String::len)), (0, Some(19)));
    assert!(over.directory().join("snaps/snap0/overlay/delta/new").exists());
    assert!(over.destroy().unwrap_err().text.contains("has snapshots"));
    over.destroy_with_snapshots().unwrap();
    assert!(!one.directory().join("lxc_snapshots").exists());

    // snapshots
    assert_eq!((one.snapshot(Some(&hook)).unwrap(), one.snapshot(None).unwrap()), (0, 1));
    assert!(one.snapshot_restore("snap7", None).is_err());
    assert!(place.names().contains(&"one".to_owned()), "a missing snapshot destroys nothing");
    std::fs::remove_dir_all(rootfs.join("etc")).unwrap();
    one.snapshot_restore("snap0", None).unwrap();
    let mut one = place.container("one");
    assert_eq!(read(&one, "rootfs/etc/hostname"), "one\n");
    assert_eq!(one.get_config_item("lxc.net.0.hwaddr").unwrap(), "00:16:3e:00:00:01");
    one.snapshot_destroy("snap1").unwrap();
    one.snapshot_destroy_all().unwrap();
    assert!(one.snapshot_destroy_all().is_err());
    assert_eq!(one.rename("three").unwrap().name, "three");
    assert_eq!(place.names(), ["three", "two"]);
    for name in place.names() {
        place.container(&name).destroy().unwrap();
    }
    assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 0);
}

#[test]
fn creations_that_fail_leave_nothing() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: not root");
        return;
    }
    let place = Place::new();
    let create = |options: &CreateOptions| {
        let mut container = place.container("c");
        container.load_text("", "").unwrap();
        container.create(options).map(|()| container)
    };
    let template = |template: &str, arguments: &[&str]| CreateOptions {
        template: Some(template.to_owned()),
        arguments: arguments.iter().map(|word| (*word).to_owned()).collect(),
        ..Default::default()
    };
    for (name, words) in [("busybox", &["--nope"][..]), ("busybox", &["--busybox-path", "/nonexistent"]), ("local", &[]), ("/bin/false", &[])] {
        assert!(create(&template(name, words)).is_err(), "{name}");
        assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 0, "{name}");
    }
    // what was there before stays
    std::fs::create_dir_all(place.0.join("c/own")).unwrap();
    std::fs::create_dir(place.0.join("tree")).unwrap();
    let mut elsewhere = template("/bin/false", &[]);
    elsewhere.store.dir = Some(place.0.join("tree"));
    assert!(create(&elsewhere).is_err() && create(&template("/bin/false", &[])).is_err());
    assert!(place.0.join("tree").exists() && place.0.join("c/own").exists());
    assert_eq!(std::fs::read_dir(place.0.join("c")).unwrap().count(), 1);
    elsewhere.store.dir = Some(place.0.join("other"));
    assert!(create(&elsewhere).is_err());
    assert!(!place.0.join("other").exists());
    let made = create(&template("/bin/true", &["a", "b"])).unwrap();
    let text = std::fs::read_to_string(made.config_file_name()).unwrap();
    let rootfs = made.directory().join("rootfs").display().to_string();
    let head = "# Template used to create this container: /bin/true\n# Parameters passed to the template: a b\n";
    assert_eq!(text, format!("{head}\nlxc.rootfs.path = dir:{rootfs}\n"));
    assert_eq!(create(&template("/bin/true", &[])).unwrap_err().number, Errno::EXIST.raw_os_error());
}
