//! Damaged or forged records remove nothing.

use std::path::PathBuf;

use super::super::{CgroupError, remove_paths};

#[test]
fn foreign_paths_are_refused() {
    let table = [
        ("/sys/fs/cgroup/unified/system.slice", "no part `hostel`"),
        ("/sys/fs/cgroup/unified/hostel", "names no machine"),
        ("/sys/fs/cgroup/unified/hostel/.devices-1", "names no machine"),
        ("/sys/fs/cgroup/unified/hostel/../system.slice", "not normal"),
        ("sys/fs/cgroup/unified/hostel/a", "not absolute"),
        ("", "not absolute"),
        ("/", "no part `hostel`"),
        ("cgroup2:/../hostel/a", "not normal"),
        ("cgroup2:/hostel/-a", "names no machine"),
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
