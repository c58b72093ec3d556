//! Configurations of LXC containers.

pub(crate) const SEEDS: &[&str] = &[
    "# c\nlxc.uts.name = a\nlxc.net.0.type = veth\nlxc.net.0.ipv4.address = 10.0.0.2/24 10.0.0.255\nlxc.cap.drop = mknod\n",
    "lxc.network.type=macvlan\nlxc.network.ipv4=10.0.0.1\nlxc.limit.nofile=5:6\nlxc.include=/x.d\nlxc.mount.auto=proc sys:ro cgroup:rw:force\n",
    "lxc.cgroup2.memory.max='1G'\nlxc.idmap=u 0 100000 65536\nlxc.hook.start=/a\nlxc.hook=\nlxc.rootfs.path=overlay:/a:/b\nlxc.cap.keep=none\n",
];

struct Nothing;

impl hostel_lxc::Files for Nothing {
    fn read(&mut self, path: &str) -> Result<Vec<(String, String)>, &'static str> {
        if path.ends_with(".d") { Ok(vec![(path.to_owned(), format!("lxc.include={path}\n"))]) } else { Err("No such file or directory") }
    }
    fn digit(&mut self) -> u8 {
        1
    }
}

/// A configuration: what loads is saved so that it loads as the same.
pub fn lxc_config(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let new = hostel_lxc::legacy::update(&text);
    assert_eq!(hostel_lxc::legacy::update(&new), new, "keys of today stay");
    let mut config = hostel_lxc::Config::default();
    if config.load("config", &text, &mut Nothing).is_err() {
        return;
    }
    let mut again = hostel_lxc::Config::default();
    again.load("config", &config.text(), &mut Nothing).expect("what was saved loads");
    assert_eq!(again, config);
}
