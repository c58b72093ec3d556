//! Booting: the environment of an init, its stopping and starting again, a real Debian.

use crate::scenario::Act::{Pause, Send, Shell, Signal, Wait};
use crate::scenario::{Kind, Look, Scenario};

/// The probe is the tree's init and does what /etc/probe-init says.
macro_rules! init {
    ($words:literal) => {
        concat!("rm -f $T/usr/sbin/init; cp $T/probe $T/usr/sbin/init; echo '", $words, "' >$T/etc/probe-init")
    };
}

/// A unit that runs a command when the system is up.
macro_rules! when_up {
    ($command:literal) => {
        concat!(
            "rm -f $T/etc/resolv.conf; printf '[Unit]\\nAfter=multi-user.target\\n[Service]\\nType=oneshot\\nExecStart=/bin/sh -c \"echo up >/marker; ", $command,
            "\"\\n' >$T/etc/systemd/system/mark.service; mkdir -p $T/etc/systemd/system/multi-user.target.wants; ",
            "ln -s ../mark.service $T/etc/systemd/system/multi-user.target.wants/mark.service"
        )
    };
}

pub(super) fn rows() -> Vec<Scenario> {
    let new = Scenario::new;
    let debian = |name, options: &[&'static str], before| {
        let mut scenario = Scenario::new(name, &["-b"]);
        scenario.args.extend(options);
        scenario.tree(Kind::Debian).before(before).after("cat $T/marker").look(Look::Nothing).limit(120)
    };
    vec![
        new("boot-view", &["-b"]).before(init!("json")).look(Look::View),
        new("boot-view-users", &["-b", "-U"]).before(init!("json")).look(Look::View),
        new("boot-view-terminal", &["-b"]).before(init!("json /view")).look(Look::ViewFile).terminal(&[]),
        new("boot-view-user", &["-b", "-u", "alice"]).before(init!("json")).look(Look::View),
        new("boot-arguments", &["-b", "say", "hello", "--flag", "a=b"]).before("rm -f $T/usr/sbin/init; cp $T/probe $T/usr/sbin/init"),
        new("boot-exit-3", &["-b"]).before(init!("exit 3")),
        new("boot-long", &["--boot"]).before(init!("exit 3")),
        new("boot-exit-133", &["-b"]).before(init!("exit 133")),
        new("boot-poweroff", &["-b"]).before(init!("poweroff")),
        new("boot-halt", &["-b"]).before(init!("halt")),
        new("boot-reboot", &["-b"]).before(init!("reboot")),
        new("boot-signal", &["-b"]).before(init!("catch")).acts(&[Wait("ready"), Signal(15), Wait("caught 37"), Pause(100), Signal(15)]),
        new("boot-signal-given", &["-b", "--kill-signal=SIGUSR2"]).before(init!("catch")).acts(&[
            Wait("ready"),
            Signal(15),
            Wait("caught 12"),
            Pause(100),
            Signal(15),
        ]),
        new("boot-interrupt", &["-b"]).before(init!("catch")).acts(&[Wait("ready"), Signal(2), Wait("caught"), Pause(100), Signal(2)]),
        new("boot-notify", &["-b", "--notify-ready=yes"]).before(init!("notify READY=1 then exit 2")),
        new("boot-and-as-pid2", &["-b", "-a"]).before(init!("exit 3")),
        new("reboot-loop", &["-q", "--register=no", "-D", "{tree}", "-b"]).bare().before(init!("touch /once then json then exit 2")).look(Look::View),
        debian("debian-poweroff", &[], when_up!("systemctl poweroff --no-block")),
        debian("debian-reboot", &[], when_up!("systemctl reboot --no-block")),
        debian("debian-exit", &[], when_up!("systemctl exit 7 --no-block")),
        debian("debian-halt", &[], when_up!("systemctl halt --no-block")),
        debian("debian-term", &[], when_up!("true")).acts(&[Shell("for i in $(seq 600); do [ -s $T/marker ] && break; sleep 0.1; done"), Signal(15)]),
        debian("debian-escape", &[], when_up!("true")).terminal(&[Wait("login:"), Send("\x1d\x1d\x1d")]),
        debian("debian-private-network", &["--private-network"], when_up!("ip -o link | wc -l >>/marker; systemctl poweroff --no-block")),
        debian("debian-volatile-overlay", &["--volatile=overlay"], when_up!("systemctl poweroff --no-block")),
        debian("debian-state", &[], when_up!("systemctl list-units --failed --plain --no-legend >>/marker; systemctl poweroff --no-block")),
        debian("debian-users", &["-U"], when_up!("id -u >>/marker; systemctl poweroff --no-block")).tree(Kind::DebianCopy),
        new("debian-user", &["-u", "nobody", "/probe", "json"]).tree(Kind::Debian).before("rm -f $T/etc/resolv.conf").look(Look::View),
        new("debian-no-command", &[])
            .tree(Kind::Debian)
            .before("rm -f $T/etc/resolv.conf")
            .terminal(&[Wait("#"), Send("echo $0 $PWD; exit 4\n")])
            .look(Look::Nothing),
        new("no-command", &[]).terminal(&[Wait("#"), Send("echo $0 $PWD; exit 4\n")]).look(Look::Nothing),
    ]
}
