//! Damaged or forged records remove nothing.

use std::path::{Path, PathBuf};

use super::super::recovery::split;
use super::super::{CgroupError, remove_paths};

#[test]
fn foreign_paths_are_refused() {
    let table = [
        ("/sys/fs/cgroup/unified/system.slice", "it does not end in `hostel/NAME`"),
        ("/sys/fs/cgroup/unified/hostel", "it does not end in `hostel/NAME`"),
        ("/sys/fs/cgroup/unified/hostel/a/payload/b", "it does not end in `hostel/NAME`"),
        ("/sys/fs/cgroup/unified/hostel/.devices-1", "names no machine"),
        ("/sys/fs/cgroup/unified/hostel/../system.slice", "not a normal path"),
        ("./../hostel/a", "not a normal path"),
        ("", "it does not end in `hostel/NAME`"),
        ("/", "it does not end in `hostel/NAME`"),
        ("hostel", "it does not end in `hostel/NAME`"),
        ("hostel/-a", "names no machine"),
    ];
    for (path, why) in table {
        let err = remove_paths(&[PathBuf::from(path)]).unwrap_err();
        assert!(matches!(err, CgroupError::NotOurs { .. }) && err.to_string().contains(why), "{path}: {err}");
    }
}

#[test]
fn other_file_systems_are_refused() {
    let dir = std::env::temp_dir().join(format!("hostel-test-recovery-{}", std::process::id()));
    let victim = dir.join("hostel/victim");
    std::fs::create_dir_all(&victim).unwrap();
    let err = remove_paths(std::slice::from_ref(&victim)).unwrap_err();
    assert!(err.to_string().ends_with("it is not in a cgroup file system"), "{err}");
    assert!(victim.exists());
    std::fs::remove_dir_all(dir).unwrap();
}

#[test]
fn what_is_gone_is_fine() {
    let paths = ["/sys/fs/cgroup/no-such-hierarchy/hostel/x", "/nowhere/hostel/x/payload"].map(PathBuf::from);
    remove_paths(&paths).unwrap();
}

#[test]
fn records_name_one_machine() {
    let table = [
        ("/sys/fs/cgroup/hostel/a", "/sys/fs/cgroup", "a"),
        ("/sys/fs/cgroup/hostel/a/payload", "/sys/fs/cgroup", "a"),
        ("/cg/hostel/hostel", "/cg", "hostel"),
        ("/cg/hostel/hostel/payload", "/cg", "hostel"),
        ("/cg/hostel/payload", "/cg", "payload"),
        // A machine inside a machine, seen from where both are: never the outer one.
        ("/cg/hostel/outer/payload/hostel/inner", "/cg/hostel/outer/payload", "inner"),
        ("/cg/hostel/outer/payload/hostel/inner/payload", "/cg/hostel/outer/payload", "inner"),
        ("hostel/a", "", "a"),
        ("hostel/outer/payload/hostel/a", "hostel/outer/payload", "a"),
    ];
    for (path, base, name) in table {
        let (found, machine) = split(Path::new(path)).unwrap();
        assert_eq!((found.as_path(), machine.as_str()), (Path::new(base), name), "{path}");
    }
}
