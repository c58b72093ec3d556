//! Conf files of subhosts.

use std::path::Path;

pub(crate) const SEEDS: &[&str] = &[
    "BASE= .\nSTART= none\n",
    "BASE=/srv/x\nLOWER=a:b\\:c\nCABLES= br0=02:00:00:00:00:11 = =.302\nRAM_SIZE=20M\nSHARE=/a:/b:ro\nSHARE=/c\n",
    "BASE=/b\nUPPER=!cmd $x\nSTART=init:/sbin/init a\nLOWER=image:x.img#2:/y\nCAPS=-net_raw,bpf\nCPUS=1.5\nLIVE=\"${BASE}/l\"\n",
];

/// A conf file: what is taken has absolute paths and no NUL anywhere.
pub fn subhost(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let Ok((lines, _)) = hostel_subhost::Lines::parse(&text) else { return };
    let Ok(conf) = hostel_subhost::Conf::of(&lines, Path::new("/srv/x.conf")) else { return };
    assert!(conf.base.is_absolute() && conf.log.is_absolute());
    if let Ok(spec) = conf.spec(None) {
        let said = serde_json::to_string(&spec).expect("every spec is JSON");
        assert!(!said.contains("\\u0000"), "a NUL came through");
    }
}
