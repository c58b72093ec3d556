//! Plans of OCI bundles.

use std::path::Path;

use super::{Caller, host, plan, text, tree};

const SMALL: &str = r#"{"ociVersion":"1.0.2","root":{"path":"rootfs","readonly":true},"hostname":"h",
    "process":{"args":["sh"],"cwd":"/","capabilities":{"bounding":["CAP_KILL"]}},
    "linux":{"namespaces":[{"type":"pid"},{"type":"mount"},{"type":"uts"}]}}"#;

const LARGE: &str = r#"{"ociVersion":"1.2.0","root":{"path":"/srv/debian"},"hostname":"h","domainname":"d",
    "process":{"args":["sh"],"cwd":"/","terminal":true,"consoleSize":{"height":10,"width":20}},
    "mounts":[{"destination":"/proc","type":"proc"},{"destination":"/dev","type":"tmpfs","options":["mode=755","nosuid"]},
      {"destination":"/dev/pts","type":"devpts","options":["gid=5","noexec"]},
      {"destination":"/data","type":"bind","source":"data","options":["rbind","ro","rnosuid","rslave"]},
      {"destination":"/own","source":"/home","options":["bind","idmap"],"uidMappings":[{"containerID":0,"hostID":5,"size":1}],"gidMappings":[{"containerID":0,"hostID":5,"size":1}]}],
    "hooks":{"createRuntime":[{"path":"/bin/a"}],"createContainer":[{"path":"/bin/b"}],"startContainer":[{"path":"/bin/c"}]},
    "linux":{"namespaces":[{"type":"pid"},{"type":"mount"},{"type":"uts"},{"type":"user"},{"type":"time"},{"type":"network","path":"/run/netns/x"}],
      "uidMappings":[{"containerID":0,"hostID":100000,"size":1000},{"containerID":1000,"hostID":200000,"size":10}],
      "gidMappings":[{"containerID":0,"hostID":100000,"size":65536}],
      "timeOffsets":{"boottime":{"secs":7}},"rootfsPropagation":"rslave",
      "devices":[{"path":"/dev/x","type":"c","major":1,"minor":7},{"path":"/dev/null","type":"c","major":1,"minor":3}],
      "maskedPaths":["/proc/kcore"],"readonlyPaths":["/proc/sys"]}}"#;

#[test]
fn snapshots_of_bundles() {
    for (name, config) in [("bundle_small", SMALL), ("bundle_large", LARGE)] {
        let spec = hostel_oci::compile(config.as_bytes(), Path::new("/srv/bundle")).unwrap_or_else(|e| panic!("{name}: {e}"));
        let plan = plan(&spec, &host(), &tree("/srv/debian"), &Caller::default()).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert!(plan.env.is_empty(), "{name}: the environment is the bundle's alone");
        insta::assert_snapshot!(name, text(&plan));
    }
}

#[test]
fn labels_need_their_module() {
    let config = SMALL.replace(r#""args""#, r#""apparmorProfile":"p","args""#);
    let spec = hostel_oci::compile(config.as_bytes(), Path::new("/srv/bundle")).unwrap();
    let error = plan(&spec, &host(), &tree("/srv/debian"), &Caller::default()).map(|_| ()).unwrap_err();
    assert!(error.to_string().contains("no AppArmor"), "{error}");
}
