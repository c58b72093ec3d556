//! Where the tree comes from and what becomes of it.

use crate::scenario::{Kind, Look, Scenario};

/// Writes here and there.
const WRITE: &str = "for p in / /etc /usr /var /home /tmp /run /dev/shm; do touch $p/made && echo wrote $p; done; exit 5";
/// A second system in the tree.
const PIVOT: &str = "cp -a $T $D/sub; mkdir $D/sub/old; echo this >$D/sub/only; mv $D/sub $T/sub";

/// A bundle of the tree. Without a cgroup namespace of its own the original looks for controllers that this host may not have.
const BUNDLE: &str = r#"mkdir $D/bundle; cat >$D/bundle/config.json <<END
{"ociVersion":"1.0.0","root":{"path":"$T"},"hostname":"inside",
"process":{"terminal":false,"user":{"uid":0,"gid":0},"cwd":"/usr","env":["PATH=/bin:/usr/bin","WORD=given"],
"args":["sh","-c","id -u; pwd; hostname; echo \$WORD; ulimit -n; ls -d /mark; touch /made; readlink /proc/self; exit 5"],
"rlimits":[{"type":"RLIMIT_NOFILE","hard":100,"soft":100}]},
"mounts":[{"destination":"/proc","type":"proc","source":"proc"},{"destination":"/mark","type":"tmpfs","source":"tmpfs"}],
"linux":{"namespaces":[{"type":"mount"},{"type":"pid"},{"type":"uts"},{"type":"ipc"},{"type":"cgroup"}]}}
END
"#;

pub(super) fn rows() -> Vec<Scenario> {
    let view = Scenario::view;
    let new = Scenario::new;
    let write = |name, options: &[&'static str]| {
        let mut scenario = Scenario::new(name, options);
        scenario.args.extend(["sh", "-c", WRITE]);
        scenario
    };
    let usual = ["-q", "--register=no", "--keep-unit"];
    let bare = |name, args: &[&'static str]| {
        let mut all = usual.to_vec();
        all.extend(args);
        Scenario::new(name, &all).bare()
    };
    vec![
        view("read-only", &["--read-only"]),
        bare("oci-bundle", &["-M", "{name}", "--oci-bundle={dir}/bundle"]).before(BUNDLE),
        bare("oci-bundle-missing", &["-M", "{name}", "--oci-bundle={dir}/none"]),
        new("pivot-root", &["--pivot-root=/sub", "sh", "-c", "ls -d /probe /old /deep; cat /only"]).before(PIVOT),
        new("pivot-root-old", &["--pivot-root=/sub:/old", "sh", "-c", "ls -d /probe /old/sub; cat /only"]).before(PIVOT),
        new("pivot-root-missing", &["--pivot-root=/none", "/probe", "exit", "0"]),
        write("read-only-writes", &["--read-only"]),
        new("volatile", &["--volatile", "/usr/bin/probe", "json"]).before("cp $T/probe $T/usr/bin/probe").look(Look::View),
        write("volatile-yes", &["--volatile=yes"]),
        view("volatile-state", &["--volatile=state"]),
        write("volatile-state-writes", &["--volatile=state"]),
        view("volatile-overlay", &["--volatile=overlay"]),
        write("volatile-overlay-writes", &["--volatile=overlay"]),
        write("volatile-no", &["--volatile=no"]),
        write("volatile-read-only", &["--volatile=overlay", "--read-only"]),
        new("volatile-unmerged", &["--volatile=yes", "sh", "-c", "ls /"]).before("rm $T/bin; cp -a $T/usr/bin $T/bin"),
        write("writes", &[]),
        write("ephemeral", &["-x"]),
        new("ephemeral-hostname", &["-x", "sh", "-c", "hostname | sed s/-[0-9a-f]*$/-random/"]),
        new("ephemeral-machine", &["-x", "-M", "given-tree", "hostname"]),
        new("ephemeral-read-only", &["-x", "--read-only", "sh", "-c", "touch /x; ls /x"]),
        bare("template-new", &["-D", "{dir}/fresh", "--template={tree}", "sh", "-c", "echo made >/made; cat /etc/os-release | head -1"]),
        bare("template-of-existing", &["-D", "{tree}", "--template={dir}/other", "sh", "-c", "ls /extra"])
            .before("cp -a $T $D/other; touch $D/other/extra"),
        bare("template-missing-for-existing", &["-D", "{tree}", "--template={dir}/none", "/bin/true"]),
        bare("template-missing", &["-D", "{dir}/fresh", "--template={dir}/none", "/bin/true"]),
        bare("template-ephemeral", &["-x", "--template={tree}", "/bin/true"]),
        bare("template-and-ephemeral", &["-x", "-D", "{tree}", "--template={tree}", "/bin/true"]),
        bare("directory-missing", &["-D", "{dir}/none", "/bin/true"]).tree(Kind::Missing),
        bare("directory-file", &["-D", "{dir}/file", "/bin/true"]).before("echo x >$D/file"),
        bare("directory-empty", &["-D", "{dir}/empty", "/bin/true"]).before("mkdir $D/empty"),
        bare("directory-root", &["-D", "/", "/bin/true"]).tree(Kind::Missing),
        bare("directory-relative", &["-D", "{name}", "pwd"]),
        bare("directory-trailing", &["-D", "{tree}/./", "hostname"]),
        bare("directory-link", &["-D", "{dir}/link", "hostname"]).before("ln -s $N $D/link"),
        bare("directory-cwd", &["sh", "-c", "echo started"]).tree(Kind::Missing),
        bare("machine-not-found", &["-M", "no-machine-of-this-name", "/bin/true"]).tree(Kind::Missing),
        bare("directory-without-usr", &["-D", "{tree}", "/bin/true"]).before("mv $T/usr $T/old"),
        bare("boot-without-os-release", &["-b", "-D", "{tree}"]).before("rm $T/etc/os-release; rm -f $T/usr/lib/os-release"),
        bare("boot-without-init", &["-b", "-D", "{tree}"]).before("rm -f $T/usr/sbin/init $T/usr/lib/systemd/systemd"),
        bare("odd-name", &["-D", "{dir}/odd name_ü", "hostname"]).before("mv $T \"$D/odd name_ü\""),
        view("missing-directories", &[])
            .before("rmdir $T/proc $T/sys $T/dev $T/run $T/tmp 2>/dev/null || rm -rf $T/proc $T/sys $T/dev $T/run $T/tmp"),
        new("missing-directories-left", &["/bin/true"]).before("rm -rf $T/proc $T/sys $T/dev $T/run $T/tmp $T/root $T/home $T/var"),
        view("settings-no", &["--settings=no"]),
    ]
}
