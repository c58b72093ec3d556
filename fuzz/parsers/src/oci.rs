//! OCI bundles.

use std::path::Path;

use crate::one_line;

pub(crate) const SEEDS: &[&str] = &[
    r#"{"ociVersion":"1.0.2-dev","root":{"path":"rootfs"},"process":{"args":["sh"],"cwd":"/","capabilities":{"bounding":["CAP_KILL"]}},"linux":{"namespaces":[{"type":"mount"},{"type":"pid"}]}}"#,
    r#"{"ociVersion":"1.2.0","root":{"path":"/r","readonly":true},"process":{"args":["a"],"env":["A=b"],"cwd":"/x/../y","rlimits":[{"type":"RLIMIT_NOFILE","soft":1,"hard":2}]},"mounts":[{"destination":"/p","type":"proc","options":["ro","nosuid"]},{"destination":"b","type":"bind","source":"x","options":["rbind","rro","rslave"]},{"destination":"/o","type":"overlay","options":["lowerdir=/a:/b"]}],"linux":{"namespaces":[{"type":"mount"},{"type":"ipc"}],"sysctl":{"kernel.msgmax":"1"}}}"#,
    r#"{"ociVersion":"1.1.0","root":{"path":"r"},"process":{"args":["a"],"cwd":"/"},"linux":{"namespaces":[{"type":"mount"},{"type":"user"}],"uidMappings":[{"containerID":0,"hostID":1,"size":5}],"gidMappings":[{"containerID":0,"hostID":1,"size":5}],"resources":{"devices":[{"allow":false},{"allow":true,"type":"c","major":1,"minor":-1,"access":"rw"}],"memory":{"limit":1,"swap":2},"cpu":{"shares":2,"quota":5,"period":7,"cpus":"0-1"}},"seccomp":{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"names":["read"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"value":1,"valueTwo":2,"op":"SCMP_CMP_MASKED_EQ"}]}]}}}"#,
    r#"{"ociVersion":"1.0.0","hooks":{"prestart":[{"path":"/h","args":["h"],"timeout":3}]},"root":{"path":"\u0000"}}"#,
];

/// A bundle's configuration: what compiles is JSON, its filter can be built or is refused.
pub fn oci_config(data: &[u8]) {
    match hostel_oci::compile(data, Path::new("/srv/bundle")) {
        Ok(spec) => {
            let said = serde_json::to_string(&spec).expect("every spec is JSON");
            assert!(!said.contains("\\u0000"), "a NUL came through");
            if let Err(error) = hostel_process::seccomp::program(&spec.security.syscalls, spec.security.bounding) {
                one_line(&error);
            }
        }
        Err(error) => one_line(&error),
    }
}
