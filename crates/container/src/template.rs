//! The templates that need nothing but this program: `busybox` and `local`.

use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use hostel_image::inroot::{self, Durable};
use hostel_image::tar::{Archive, Kind, unpack};
use hostel_image::{Cause, compress, open, shift};
use rustix::fs::Mode;
use rustix::io::Errno;

use crate::container::{Container, write};
use crate::create::Site;
use crate::error::{Error, On, Result};
use crate::files::text;

/// Fills a directory and adds to the configuration.
pub(crate) type Fill = fn(&Site<'_>) -> Result<()>;

/// Ours, by name.
pub(crate) const OWN: [(&str, Fill); 2] = [("busybox", busybox), ("local", local)];

/// Names and what they stand for; few enough to be looked through.
type Named = Vec<(String, String)>;

fn named<'a>(all: &'a Named, name: &str) -> Option<&'a String> {
    all.iter().rev().find(|(own, _)| own == name).map(|(_, value)| value)
}

/// The values of the options that are known, by their first names; of a flag it is empty.
fn options(site: &Site<'_>, known: &[(&str, &str, bool)]) -> Result<Named> {
    let mut found = Named::new();
    let mut words = site.options.arguments.iter();
    while let Some(word) = words.next() {
        let (name, attached) = word.split_once('=').map_or((word.as_str(), None), |(name, value)| (name, Some(value.to_owned())));
        let (long, _, takes) = known
            .iter()
            .find(|(long, short, _)| *long == name || *short == name)
            .ok_or_else(|| Error::new("read option", name, "the template has none of that name", Errno::INVAL))?;
        let value = if *takes { attached.or_else(|| words.next().cloned()) } else { Some(String::new()) };
        found.push(((*long).to_owned(), value.ok_or_else(|| Error::new("read option", name, "it takes a value", Errno::INVAL))?));
    }
    Ok(found)
}

/// Adds lines to the container's configuration.
fn add(container: &Container, lines: &str) -> Result<()> {
    let file = container.config_file_name();
    write(Path::new(&file), &(text(Path::new(&file))? + lines))
}

/// In a container with users of its own, its files are its root's.
pub(crate) fn give(site: &Site<'_>) -> Result<()> {
    let maps = || site.container.values("lxc.idmap");
    let base = |kind| maps().find_map(|map| map.strip_prefix(kind)?.strip_prefix(" 0 ")?.split(' ').next()?.parse::<u32>().ok());
    match (base("u"), base("g")) {
        (None, None) => Ok(()),
        (Some(user), Some(group)) if user == group => {
            shift::give(open::directory(site.rootfs)?.as_fd(), site.rootfs, user)?;
            Ok(())
        }
        _ => Err(site.container.error("shift owners of", "users and groups have different ranges", Errno::OPNOTSUPP)),
    }
}

const DIRECTORIES: [&str; 21] = [
    "dev",
    "home",
    "root",
    "etc",
    "etc/init.d",
    "bin",
    "usr",
    "usr/bin",
    "sbin",
    "usr/sbin",
    "proc",
    "sys",
    "mnt",
    "tmp",
    "var",
    "var/log",
    "var/run",
    "lib",
    "usr/lib",
    "lib64",
    "usr/lib64",
];

const RCS: &str = "#!/bin/sh
/bin/syslogd
/bin/mount -a
# in the background: without a server the start and the end are not to wait
[ ! -e /sys/class/net/eth0 ] || /bin/udhcpc -b -i eth0 -s /etc/udhcpc.script
";
const UDHCPC: &str = "#!/bin/sh
case $1 in
deconfig) ip addr flush dev $interface; ip link set $interface up ;;
bound|renew)
	ip addr flush dev $interface
	ip addr add $ip/${mask:-24} ${broadcast:+broadcast $broadcast} dev $interface
	for via in $router; do ip route replace default via $via dev $interface; break; done
	{ [ -z \"$domain\" ] || echo search $domain; for one in $dns; do echo nameserver $one; done; } >/etc/resolv.conf
	;;
esac
";
const INITTAB: &str = "::sysinit:/etc/init.d/rcS
tty1::respawn:/bin/getty -L tty1 115200 vt100
console::askfirst:/bin/sh
";
const CONFIG: &str = "lxc.signal.halt = SIGUSR1
lxc.signal.reboot = SIGTERM
lxc.autodev = 1
lxc.tty.max = 5
lxc.pty.max = 1
lxc.cap.drop = sys_module mac_admin mac_override sys_time
lxc.mount.auto = cgroup:mixed proc:mixed sys:ro
lxc.mount.entry = shm dev/shm tmpfs defaults,create=dir 0 0
lxc.mount.entry = mqueue dev/mqueue mqueue defaults,optional,create=dir 0 0
lxc.mount.entry = /sys/kernel/security sys/kernel/security none ro,bind,optional 0 0
";

/// A system that is busybox and nothing else.
fn busybox(site: &Site<'_>) -> Result<()> {
    let options = options(site, &[("--busybox-path", "", true)])?;
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&paths).map(|directory| directory.join("busybox")).find(|file| file.is_file());
    let program = named(&options, "--busybox-path").map(PathBuf::from).or(found).ok_or(Errno::NOENT).on("find", "busybox")?;
    let listed = Command::new(&program).arg("--list").output().on("run", program.display())?;
    let root = site.rootfs;
    let make = |name: &str, bytes: &str, mode: u32| {
        let file = root.join(name);
        std::fs::write(&file, bytes).and_then(|()| std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode))).on("write", file.display())
    };
    for name in DIRECTORIES {
        let directory = root.join(name);
        std::fs::create_dir_all(&directory).on("make", directory.display())?;
    }
    std::fs::set_permissions(root.join("tmp"), std::fs::Permissions::from_mode(0o1777)).on("make", "tmp")?;
    make("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n", 0o644)?;
    make("etc/group", "root:x:0:root\n", 0o644)?;
    make("etc/shadow", "root:*:::::::\n", 0o600)?;
    make("etc/fstab", "", 0o644)?;
    make("etc/init.d/rcS", RCS, 0o744)?;
    make("etc/inittab", INITTAB, 0o644)?;
    make("etc/udhcpc.script", UDHCPC, 0o744)?;
    let binary = root.join("bin/busybox");
    std::fs::copy(&program, &binary).on("copy", program.display())?;
    std::fs::set_permissions(&binary, std::fs::Permissions::from_mode(0o755)).on("make", binary.display())?;
    for applet in String::from_utf8_lossy(&listed.stdout).lines().filter(|name| *name != "busybox" && !name.contains('/')) {
        symlink("busybox", root.join("bin").join(applet)).on("link", applet)?;
    }
    symlink("../bin/busybox", root.join("sbin/init")).on("link", "sbin/init")?;
    let mut config = format!("lxc.uts.name = {}\n{CONFIG}", site.container.name);
    for directory in ["lib", "usr/lib", "lib64", "usr/lib64"].iter().filter(|directory| Path::new("/").join(directory).is_dir()) {
        config.push_str(&format!("lxc.mount.entry = /{directory} {directory} none ro,bind 0 0\n"));
    }
    add(site.container, &config)
}

/// A file of an image's metadata: that of today's rules, and of containers with users of their own, comes before the plain one.
fn relevant<'a>(files: &'a Named, name: &str, user: bool) -> Option<&'a String> {
    let mode = format!("{name}-{}", if user { "user" } else { "system" });
    let name = if named(files, &mode).is_some() { &mode } else { name };
    named(files, &format!("{name}.5")).or_else(|| named(files, name))
}

/// The small files of an archive.
fn metadata(path: &Path) -> std::result::Result<Named, Cause> {
    const MOST: u64 = 1 << 20;
    let mut archive = Archive::new(compress::reader(File::open(path)?)?.1);
    let mut files = Named::new();
    while let Some(entry) = archive.next_entry()? {
        if entry.kind != Kind::File || entry.stored > MOST || files.len() > 100 {
            continue;
        }
        let mut bytes = vec![0; entry.stored as usize];
        let mut filled = 0;
        while filled < bytes.len() {
            match archive.read(&mut bytes[filled..])? {
                0 => return Err(Cause::Why("it is cut off")),
                n => filled += n,
            }
        }
        files.push((String::from_utf8_lossy(&entry.path).into_owned(), String::from_utf8_lossy(&bytes).into_owned()));
    }
    Ok(files)
}

/// An image in two archives, of metadata and of files.
fn local(site: &Site<'_>) -> Result<()> {
    let options = options(site, &[("--metadata", "-m", true), ("--fstree", "-f", true), ("--no-dev", "", false)])?;
    let given = |name| named(&options, name).map(Path::new).ok_or(Cause::Why("the template needs it")).on("find option", name);
    let (meta, tree) = (given("--metadata")?, given("--fstree")?);
    let files = metadata(meta).on("read archive", meta.display())?;
    let container = site.container;
    let user = container.value("lxc.idmap").is_some();
    let config = relevant(&files, "config", user).ok_or(Cause::Why("it has no file `config`")).on("read archive", meta.display())?;
    let root = open::directory(site.rootfs)?;
    let top = crate::store::readable(site.rootfs)?;
    let bytes = File::open(tree).and_then(compress::reader).on("read archive", tree.display())?.1;
    unpack(&mut Archive::new(bytes), tree, top.as_fd())?;
    if named(&options, "--no-dev").is_some() {
        hostel_image::remove::remove_tree(&site.rootfs.join("dev"))?;
    }
    inroot::make_directories(root.as_fd(), Path::new("dev/pts"), Mode::from_raw_mode(0o755)).on("make", "dev/pts")?;

    let path = container.directory().display().to_string();
    let variables = [
        ("LXC_NAME", container.name.as_str()),
        ("LXC_PATH", &path),
        ("LXC_ROOTFS", site.rootfs.to_str().unwrap_or_default()),
        ("LXC_TEMPLATE_CONFIG", "/usr/share/lxc/config"),
        ("LXC_HOOK_DIR", "/usr/share/lxc/hooks"),
    ];
    let fill = |text: &str| variables.iter().fold(text.to_owned(), |text, (name, value)| text.replace(name, value));
    // What the image says, then what the container has, its first network the last.
    let own = text(Path::new(&container.config_file_name()))?;
    let (settings, rest): (Vec<&str>, Vec<&str>) = own.lines().partition(|line| line.trim_start().starts_with("lxc."));
    let (network, other): (Vec<&str>, Vec<&str>) = settings.into_iter().partition(|line| line.trim_start().starts_with("lxc.net.0"));
    let fstab = relevant(&files, "fstab", user);
    let mount = if fstab.is_some() { format!("lxc.mount.fstab = {path}/fstab") } else { String::new() };
    let name = format!("lxc.uts.name = {}", container.name);
    let lines = [rest.join("\n"), config.trim_end().to_owned(), other.join("\n"), mount, name, network.join("\n")];
    write(Path::new(&container.config_file_name()), &(fill(&lines.join("\n")) + "\n"))?;
    if let Some(fstab) = fstab {
        write(Path::new(&format!("{path}/fstab")), &fill(fstab))?;
    }
    for file in relevant(&files, "templates", user).iter().flat_map(|list| list.lines()).map(Path::new) {
        if let (Ok(bytes), Ok(stat)) = (inroot::read(root.as_fd(), file), inroot::stat(root.as_fd(), file)) {
            let filled = fill(&String::from_utf8_lossy(&bytes));
            inroot::replace(root.as_fd(), file, filled.as_bytes(), Mode::from_raw_mode(stat.st_mode & 0o7777), Durable::No)
                .on("write", file.display())?;
        }
    }
    Ok(())
}
