//! liblxc.so.1, by Debian's python3-lxc: the same words with our library and with LXC's own, on the same container, which ours started.

use std::path::{Path, PathBuf};
use std::time::Duration;

use hostel_tests::lxc::Lxcpath;
use hostel_tests::{Bed, Invocation, Outcome, binary, has};

const BEGIN: &str = "import lxc, os, sys\nP, N = sys.argv[1:]\nc = lxc.Container(N, P)\n";

const MAKE: &str = r#"
print(c.defined, c.state, c.init_pid)
c.set_config_item("lxc.net.0.type", "empty")
print(c.create("busybox", lxc.LXC_CREATE_QUIET, {}), c.defined)
c.set_config_item("lxc.environment", "FROM=config")
print(c.save_config(), c.start(), c.wait("RUNNING", 5), c.start())
"#;
const MADE: &str = "False STOPPED -1\nTrue True\nTrue True True False\n";

/// What both say of the container.
const LOOK: &str = r#"
root = "/proc/%d/root" % c.init_pid
print(c.defined, c.state, c.running, c.controllable, c.config_file_name == P + "/" + N + "/config", c.get_config_path() == P)
print(lxc.list_containers(config_path=P) == (N,), lxc.list_containers(config_path=P, defined=False) == (N,))
print(c.get_config_item("lxc.cap.drop"), c.get_config_item("lxc.uts.name") == N, c.get_keys("lxc.net.0"))
print(c.get_running_config_item("lxc.signal.halt"), c.get_interfaces(), c.get_ips())
script = "echo $container $FROM $A:$HOME; id -u; pwd; grep -c . /proc/1/status >/dev/null; exit 3"
out = os.open("/tmp", os.O_TMPFILE | os.O_RDWR)
print(c.attach_wait(lxc.attach_run_command, ["sh", "-c", script], stdout=out) >> 8)
print(c.attach_wait(lxc.attach_run_command, ["sh", "-c", script], stdout=out, env_policy=lxc.LXC_ATTACH_CLEAR_ENV,
                    extra_env_vars=["A=b"], uid=7, gid=8, initial_cwd="/etc") >> 8)
print([c.attach_wait(lxc.attach_run_command, [program]) >> 8 for program in ("/nonexistent", "/etc/passwd")])
def inside(word):
    os.write(out, ("%s %s %d\n" % (word, os.uname().nodename == N, os.getpid() < 100)).encode())
    return 9
pid = c.attach(inside, "callback")
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
os.lseek(out, 0, 0)
print(os.read(out, 4096).decode())
print(c.get_cgroup_item("pids.max"), c.set_cgroup_item("pids.max", "99"), c.get_cgroup_item("pids.max"), c.set_cgroup_item("pids.max", "max"))
print(c.freeze(), c.state, c.unfreeze(), c.state, c.wait("RUNNING", 0))
print(c.snapshot_list(), c.destroy(), c.rename("x"))
"#;

/// What is entered is held as the container is; LXC's own library joins no cgroup of what hostel runs.
const LEAVE: &str = r#"
def facts(pid):
    status = open("/proc/%s/status" % pid).read().splitlines()
    return [l for l in status if l.split(":")[0] in ("CapBnd", "CapPrm", "Seccomp", "NoNewPrivs")] + [open("/proc/%s/cgroup" % pid).read()]
print(c.attach_wait(lambda: 0 if facts(1) == facts("self") else 1))
os.symlink("/proc/self/fd/%d" % os.open("/", os.O_PATH), "/proc/%d/root/out" % c.init_pid)
print(c.attach_wait(lambda: 0 if os.getcwd() == "/" else 1, initial_cwd="/out"))
print(c.freeze(), c.attach_wait(lxc.attach_run_command, ["true"]), c.unfreeze())
old = c.init_pid
print(c.add_device_node("/dev/full", "/dev/some"), os.path.exists("/proc/%d/root/dev/some" % old), c.remove_device_node("/dev/full", "/dev/some"))
print(c.reboot(), c.wait("STOPPING", 5), c.wait("RUNNING", 5), c.init_pid != old)
print(c.stop(), c.wait("STOPPED", 5), c.state)
print(c.snapshot(), len(c.snapshot_list()), c.snapshot_restore("snap0", N + "-b"), c.snapshot_restore("snap0"))
print(c.clone(N + "-c", config_path=P) and lxc.Container(N + "-c", P).get_config_item("lxc.uts.name") == N + "-c")
print(len(lxc.list_containers(config_path=P, as_object=True)), c.destroy())
print(c.snapshot_destroy("snap0"), [lxc.Container(name, P).destroy() for name in lxc.list_containers(config_path=P)])
print(c.set_config_item("lxc.init.cmd", "/nonexistent"), c.start())
"#;
const LEFT: &str = "0\n0\nTrue -16 True\nTrue True True\nTrue True True True\nTrue True STOPPED\nsnap0 1 True True\nTrue\n3 False\nTrue [True, True, True]\nTrue False\n";

struct Clients<'a> {
    bed: &'a Bed,
    all: Lxcpath<'a>,
    name: String,
    library: PathBuf,
}

impl Clients<'_> {
    fn python(&self, script: &str) -> Invocation {
        let words = ["-c", &[BEGIN, script].concat()].map(str::to_owned);
        Invocation::new("/usr/bin/python3").args(words).arg(self.all.path()).arg(&self.name).limit(Duration::from_secs(30))
    }
    fn ours(&self, script: &str) -> Outcome {
        let own = self.python(script).env("LD_LIBRARY_PATH", &self.library).env("HOSTEL_RUNTIME_DIR", self.bed.runtime_dir());
        own.env("HOSTEL_BIN", binary("hostel", "HOSTEL_BIN")).run()
    }
}

/// The library as it was built beside these tests, under the name that programs are linked to.
fn library(bed: &Bed) -> Option<PathBuf> {
    let own = std::env::current_exe().expect("own path");
    let built = own.ancestors().nth(2).map(|profile| profile.join("liblxc.so"))?;
    if !built.exists() {
        assert!(std::env::var_os("CI").is_none(), "{} is missing", built.display());
        println!("skipped: no {}: `cargo build -p hostel --lib -p hostel-liblxc` makes it", built.display());
        return None;
    }
    let directory = bed.fresh("lib");
    std::os::unix::fs::symlink(built, directory.join("liblxc.so.1")).expect("symlink");
    Some(directory)
}

#[test]
fn python_drives_containers() {
    let Some(bed) = Bed::start() else { return };
    if !Path::new("/usr/lib/python3/dist-packages/lxc").exists() || !has("busybox") {
        println!("skipped: no python3-lxc and busybox here");
        return;
    }
    let Some(library) = library(&bed) else { return };
    let all = Clients { bed: &bed, all: Lxcpath::new(&bed), name: bed.name(), library };
    all.ours(MAKE).exits(0).prints(MADE);
    let (ours, stock) = (all.ours(LOOK), all.python(LOOK).run());
    assert_eq!(ours.text(), stock.text(), "{}\n{}", ours.describe(), stock.describe());
    ours.exits(0).prints_with("callback True 1");
    all.ours(LEAVE).exits(0).prints(LEFT);
}
