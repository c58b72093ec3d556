use super::*;
use crate::walk::testing::{Scratch, is_root, sh};

fn machine(name: &str) -> MachineName {
    MachineName::new(name).unwrap()
}

#[test]
fn one_writer_or_many_readers() {
    let scratch = Scratch::new("locks");
    let locks = scratch.path().join("a/locks");
    let tree_path = scratch.path().join("tree");
    std::fs::create_dir(&tree_path).unwrap();
    let tree = crate::open::directory(&tree_path).unwrap();
    let take = |lock, name: &str| take(&locks, tree.as_fd(), &tree_path, lock, &machine(name));

    let writer = take(Lock::Exclusive, "first").unwrap();
    for lock in [Lock::Exclusive, Lock::Shared] {
        let error = take(lock, "second").unwrap_err();
        let me = rustix::process::getpid().as_raw_nonzero();
        assert_eq!(error.to_string(), format!("lock tree {}: it is in use by machine first (supervisor {me})", tree_path.display()));
    }
    drop(writer);
    assert_eq!(crate::walk::testing::names(&locks), Vec::<String>::new());

    let (one, two) = (take(Lock::Shared, "one").unwrap(), take(Lock::Shared, "two").unwrap());
    assert!(take(Lock::Exclusive, "three").is_err());
    drop(one);
    assert!(take(Lock::Exclusive, "three").is_err());
    assert_eq!(crate::walk::testing::names(&locks).len(), 1);
    drop(two);
    assert_eq!(crate::walk::testing::names(&locks).len(), 0);
    // A killed holder leaves its file, and it names nobody.
    std::fs::write(path(&locks, tree.as_fd()).unwrap(), "ghost 1\n").unwrap();
    let anonymous = LockFile::take(&path(&locks, tree.as_fd()).unwrap(), Lock::Exclusive, 0o700).unwrap();
    assert_eq!(take(Lock::Shared, "x").unwrap_err().cause, Cause::Busy { holder: None });
    drop(anonymous);
}

#[test]
fn sixty_four_at_once_have_one_winner() {
    let scratch = Scratch::new("locks64");
    let locks = scratch.path().join("locks");
    let tree = crate::open::directory(scratch.path()).unwrap();
    for _ in 0..20 {
        let barrier = std::sync::Barrier::new(64);
        let won: Vec<_> = std::thread::scope(|scope| {
            let tasks: Vec<_> = (0..64)
                .map(|i| {
                    let (barrier, tree, locks) = (&barrier, &tree, &locks);
                    scope.spawn(move || {
                        barrier.wait();
                        take(locks, tree.as_fd(), Path::new("t"), Lock::Exclusive, &machine(&format!("m{i}"))).ok()
                    })
                })
                .collect();
            // Winners stay alive until all have tried.
            tasks.into_iter().filter_map(|t| t.join().unwrap()).collect()
        });
        assert_eq!(won.len(), 1);
    }
}

/// systemd-nspawn refuses a tree we hold, we refuse one it holds.
#[test]
fn systemd_nspawn_sees_it() {
    let busybox = Path::new("/var/tmp/hostel-trees/busybox");
    if !is_root() || !busybox.is_dir() || !Path::new("/usr/bin/systemd-nspawn").exists() {
        eprintln!("skipped: needs root, systemd-nspawn and the busybox tree");
        return;
    }
    let scratch = Scratch::new("nspawn-lock");
    let tree_path = scratch.path().join("bb");
    sh(r#"cp -a "$1" "$2""#, &[busybox, &tree_path]);
    let tree = crate::open::directory(&tree_path).unwrap();
    let directory = Path::new(DIRECTORY);
    let nspawn = |command: &[&str]| {
        let mut nspawn = crate::walk::testing::nspawn("himg-lock");
        nspawn.arg("-D").arg(&tree_path).arg("/bin/busybox").args(command);
        nspawn
    };
    let held = take(directory, tree.as_fd(), &tree_path, Lock::Exclusive, &machine("himg-lock")).unwrap();
    let out = nspawn(&["true"]).output().unwrap();
    assert!(!out.status.success());
    assert!(String::from_utf8_lossy(&out.stderr).contains("busy"), "{out:?}");
    drop(held);
    let mut running = nspawn(&["sleep", "2"]).spawn().unwrap();
    let mut busy = false;
    for _ in 0..40 {
        std::thread::sleep(std::time::Duration::from_millis(50));
        match take(directory, tree.as_fd(), &tree_path, Lock::Shared, &machine("himg-lock")) {
            Ok(lock) => drop(lock),
            Err(e) => {
                assert_eq!(e.cause, Cause::Busy { holder: None });
                busy = true;
                break;
            }
        }
    }
    running.wait().unwrap();
    assert!(busy);
}
