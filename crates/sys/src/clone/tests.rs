use super::*;
use std::os::fd::AsFd;

fn wait(fd: &OwnedFd) -> WaitStatus {
    wait_pidfd(fd.as_fd(), WAIT_EXITED).unwrap().unwrap()
}

#[test]
fn child_status_by_pidfd() {
    // SAFETY: the child only exits.
    match unsafe { clone_unchecked(&CloneArgs::default()) }.unwrap() {
        Fork::Child => exit_now(42),
        Fork::Parent { pid, pidfd } => {
            assert!(pid > 0);
            assert_eq!(wait(&pidfd), WaitStatus::Exited(42));
            assert_eq!(wait_pidfd(pidfd.as_fd(), WAIT_EXITED).unwrap_err().raw_os_error(), Some(libc::ECHILD));
        }
    }
}

#[test]
fn signals_by_raw_number() {
    for signal in [9, 15, 37, 38] {
        // SAFETY: the child only waits.
        let Fork::Parent { pidfd, .. } = unsafe { clone_unchecked(&CloneArgs::default()) }.unwrap() else {
            loop {
                // SAFETY: no arguments.
                unsafe { libc::pause() };
            }
        };
        assert_eq!(wait_pidfd(pidfd.as_fd(), WAIT_EXITED | WAIT_NOHANG).unwrap(), None);
        pidfd_send_signal(pidfd.as_fd(), 0).unwrap();
        pidfd_send_signal(pidfd.as_fd(), signal).unwrap();
        let status = wait(&pidfd);
        assert_eq!(status, WaitStatus::Signaled { signal, core: false });
        assert_eq!(status.shell_code(), 128 + signal);
        assert_eq!(pidfd_send_signal(pidfd.as_fd(), 9).unwrap_err().raw_os_error(), Some(libc::ESRCH));
    }
}

#[test]
fn vfork_shares_memory_and_execs() {
    let mut seen = 0;
    let argv = [c"true".as_ptr(), std::ptr::null()];
    let env = [std::ptr::null()];
    let (pid, pidfd) = vfork_exec(&CloneArgs::default(), &mut || {
        seen += 1;
        crate::proc::execve(c"/bin/true", &argv, &env);
        99
    })
    .unwrap();
    assert!(pid > 0);
    assert_eq!(wait(&pidfd), WaitStatus::Exited(0));
    assert_eq!(seen, 1);
}

#[test]
fn vfork_reports_through_memory() {
    let mut cause = None;
    let env = [std::ptr::null()];
    for _ in 0..50 {
        let (_, pidfd) = vfork_exec(&CloneArgs::default(), &mut || {
            // Deep enough to trample what is the caller's, did the child's stack begin there.
            let on_stack = std::hint::black_box([7u8; 300_000]);
            let deep: Vec<u64> = (0..4089 + u64::from(on_stack[299_999])).collect();
            let error = crate::proc::execve(c"/nonexistent", &env, &env);
            cause = Some((error.raw_os_error(), deep.iter().sum::<u64>()));
            127
        })
        .unwrap();
        assert_eq!(wait(&pidfd), WaitStatus::Exited(127));
        assert_eq!(cause.take(), Some((Some(libc::ENOENT), 4095 * 4096 / 2)));
    }
}

#[test]
fn vfork_child_mask_is_empty_and_ours_is_kept() {
    let before = signal_mask(1 << (libc::SIGUSR1 - 1)).unwrap();
    let mut inside = u64::MAX;
    let (_, pidfd) = vfork_exec(&CloneArgs::default(), &mut || {
        inside = signal_mask(0).unwrap_or(u64::MAX);
        0
    })
    .unwrap();
    wait(&pidfd);
    assert_eq!(inside, 0);
    assert_eq!(signal_mask(before).unwrap(), 1 << (libc::SIGUSR1 - 1));
}

#[test]
fn new_namespaces_and_setns() {
    // SAFETY: no arguments.
    if unsafe { libc::geteuid() } != 0 {
        eprintln!("skipped: needs root");
        return;
    }
    let link = |pid: i32| std::fs::read_link(format!("/proc/{pid}/ns/uts")).unwrap();
    let args = CloneArgs { flags: NEWUTS | NEWPID, ..CloneArgs::default() };
    // SAFETY: the child only waits.
    let Fork::Parent { pid, pidfd } = unsafe { clone_unchecked(&args) }.unwrap() else {
        loop {
            // SAFETY: no arguments.
            unsafe { libc::pause() };
        }
    };
    assert_ne!(link(pid), std::fs::read_link("/proc/self/ns/uts").unwrap());
    let theirs = link(pid);
    let mut inner_pid = 0;
    let mut result = Ok(());
    // setns in a child, so that this test's thread stays where it is.
    let (_, child) = vfork_exec(&CloneArgs::default(), &mut || {
        result = setns_pidfd(pidfd.as_fd(), NEWUTS | NEWPID);
        let now = std::fs::read_link("/proc/thread-self/ns/uts");
        let mut grandchild = || {
            // SAFETY: no arguments. The raw call: libc may cache.
            inner_pid = unsafe { libc::syscall(libc::SYS_getpid) };
            0
        };
        let made = vfork_exec(&CloneArgs::default(), &mut grandchild);
        match made {
            Ok((_, fd)) if now.is_ok_and(|n| n == theirs) => i32::from(wait_pidfd(fd.as_fd(), WAIT_EXITED).is_err()),
            _ => 9,
        }
    })
    .unwrap();
    assert_eq!(wait(&child), WaitStatus::Exited(0));
    result.unwrap();
    assert_eq!(inner_pid, 2);
    pidfd_send_signal(pidfd.as_fd(), 9).unwrap();
    assert_eq!(wait(&pidfd).shell_code(), 137);
}

#[test]
fn born_in_cgroup() {
    // SAFETY: no arguments.
    if unsafe { libc::geteuid() } != 0 {
        eprintln!("skipped: needs root");
        return;
    }
    let Some(base) = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"].into_iter().find(|d| std::path::Path::new(d).join("cgroup.controllers").exists())
    else {
        eprintln!("skipped: no cgroup2 here");
        return;
    };
    let dir = format!("{base}/hostel-test-clone-{}", std::process::id());
    std::fs::create_dir(&dir).unwrap();
    let fd = std::fs::File::open(&dir).unwrap();
    let args = CloneArgs { cgroup: Some(fd.as_fd()), ..CloneArgs::default() };
    // SAFETY: the child only waits.
    let Fork::Parent { pid, pidfd } = unsafe { clone_unchecked(&args) }.unwrap() else {
        loop {
            // SAFETY: no arguments.
            unsafe { libc::pause() };
        }
    };
    let procs = std::fs::read_to_string(format!("{dir}/cgroup.procs")).unwrap();
    pidfd_send_signal(pidfd.as_fd(), 9).unwrap();
    wait(&pidfd);
    std::fs::remove_dir(&dir).unwrap();
    assert_eq!(procs.trim(), pid.to_string());
}

#[test]
fn end_of_a_process_that_is_not_ours() {
    // Two levels: the grandchild is not our child.
    let mut grandchild = None;
    let (_, child) = vfork_exec(&CloneArgs::default(), &mut || match clone3(&CloneArgs::default()) {
        Ok(Fork::Child) => {
            std::thread::sleep(std::time::Duration::from_millis(50));
            exit_now(7)
        }
        Ok(Fork::Parent { pid, pidfd }) => {
            grandchild = Some(pid);
            std::mem::forget(pidfd);
            std::thread::sleep(std::time::Duration::from_millis(20));
            0
        }
        Err(_) => 1,
    })
    .unwrap();
    let pidfd = pidfd_open(grandchild.unwrap()).unwrap();
    wait(&child);
    match pidfd_exit(pidfd.as_fd()) {
        Err(error) => eprintln!("skipped: PIDFD_INFO_EXIT: {error}"),
        Ok(early) => {
            assert_eq!(early, None);
            for _ in 0..100 {
                if let Some(status) = pidfd_exit(pidfd.as_fd()).unwrap() {
                    assert_eq!(status, WaitStatus::Exited(7));
                    return;
                }
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
            eprintln!("skipped: nobody reaps orphans here");
        }
    }
}

#[test]
fn execveat_by_descriptor_and_bad_lists() {
    let file = std::fs::File::open("/bin/true").unwrap();
    let bad = execve_fd(file.as_fd(), &[], &[]);
    assert_eq!(bad.raw_os_error(), Some(libc::EINVAL));
    let argv = [c"true".as_ptr(), std::ptr::null()];
    let env = [std::ptr::null()];
    let (_, pidfd) = vfork_exec(&CloneArgs::default(), &mut || {
        execve_fd(file.as_fd(), &argv, &env);
        99
    })
    .unwrap();
    assert_eq!(wait(&pidfd), WaitStatus::Exited(0));
}

#[test]
fn no_copy_of_half_a_process_and_nothing_closed_but_in_a_child() {
    use std::sync::mpsc::channel;
    // The thread of this test and the one that waits for it, at least.
    let (stop, stopped) = channel::<()>();
    let other = std::thread::spawn(move || stopped.recv());
    assert!(!is_single_threaded().unwrap());
    assert!(clone3(&CloneArgs::default()).is_err());
    assert!(close_from_but(3, &[]).is_err());
    // A child has one thread and may do both, also below another child.
    let (_, child) = vfork_exec(&CloneArgs::default(), &mut || match (is_made_here(), clone3(&CloneArgs::default())) {
        (true, Ok(Fork::Child)) => exit_now(if close_from_but(3, &[]).is_ok() { 7 } else { 1 }),
        (true, Ok(Fork::Parent { pidfd, .. })) => wait(&pidfd).shell_code(),
        _ => 2,
    })
    .unwrap();
    assert_eq!(wait(&child), WaitStatus::Exited(7));
    assert!(!is_made_here());
    let _ = stop.send(());
    let _ = other.join();
}

#[test]
fn inherited_descriptors_are_taken_once() {
    use crate::proc::{place_stream, take_inherited};
    use std::os::fd::IntoRawFd;
    let file = std::fs::File::open("/dev/null").unwrap();
    assert_eq!(take_inherited(file.as_raw_fd()).unwrap_err().raw_os_error(), Some(libc::EBADF), "it is ours, as its flag says");
    let number = file.into_raw_fd();
    // SAFETY: plain fcntl; nobody owns the number any more.
    unsafe { libc::fcntl(number, libc::F_SETFD, 0) };
    let taken = take_inherited(number).unwrap();
    assert!(take_inherited(number).is_err() && take_inherited(1).is_err());
    assert!(place_stream(taken.as_fd(), 3).is_err() && place_stream(taken.as_fd(), -1).is_err());
}
