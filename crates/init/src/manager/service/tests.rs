//! Lives of services, told as what happens and what is done: no process is made.

use super::*;
use crate::manager::config::Config;
use crate::testing::Tree;

/// Notes what is done, and says what it is told to.
struct Script {
    now: Instant,
    did: Vec<String>,
    next_pid: i32,
    others: Vec<i32>,
    pid_file: Result<i32, String>,
}

impl Hands for Script {
    fn now(&self) -> Instant {
        self.now
    }
    fn spawn(&mut self, order: &Order<'_>) -> Result<i32, String> {
        if order.command.program == "/bad" {
            return Err("it is bad".to_owned());
        }
        self.next_pid += 1;
        self.did.push(format!("{}={}", order.command.program.trim_start_matches('/'), self.next_pid));
        Ok(self.next_pid)
    }
    fn signal(&mut self, pid: i32, signal: i32) {
        if signal != 18 {
            self.did.push(format!("kill{signal}:{pid}"));
        }
    }
    fn signal_others(&mut self, but: &[i32], signal: i32) -> bool {
        let others: Vec<i32> = self.others.iter().copied().filter(|pid| !but.contains(pid)).collect();
        if signal != 18 {
            self.did.extend(others.iter().map(|pid| format!("kill{signal}:{pid}")));
        }
        !others.is_empty()
    }
    fn has_others(&mut self, but: &[i32]) -> bool {
        self.others.iter().any(|pid| !but.contains(pid))
    }
    fn read_pid_file(&mut self, _: &str) -> Result<i32, String> {
        self.pid_file.clone()
    }
    fn guess_main(&mut self, but: &[i32]) -> Option<i32> {
        self.others.iter().copied().find(|pid| !but.contains(pid))
    }
    fn watch_name(&mut self, name: &str) -> bool {
        name != "no.bus"
    }
    fn tidy(&mut self, _: bool) {}
    fn tell(&mut self, _: &str) {}
}

const OK: &str = "0";

/// Plays `events` on a service of this text; `; `-separated: `start`, `stop`, `reload`, `main CODE|sigN`, `control CODE|sigN`, `late` (the
/// time is over), `ready`, `reloading`, `stopping`, `exec`, `others PID…`, `gone` (the other processes), `pidfile N`. Gives what was done, then the state.
fn play(text: &str, events: &str) -> String {
    let tree = Tree::new("manager-service");
    tree.unit("a.service", &format!("[Service]\n{text}\n"));
    let unit = tree.load("a.service");
    assert!(unit.is_loaded(), "{text}: {:?}", unit.state);
    let mut service = Service::new(Config::of(&unit));
    let mut script = Script { now: Instant::now(), did: Vec::new(), next_pid: 10, others: Vec::new(), pid_file: Err("none".to_owned()) };
    let h = &mut script;
    for event in events.split("; ") {
        let (word, rest) = event.split_once(' ').unwrap_or((event, OK));
        let end = match rest.strip_prefix("sig") {
            Some(signal) => WaitStatus::Signaled { signal: signal.parse().unwrap_or(0), core: false },
            None => WaitStatus::Exited(rest.parse().unwrap_or(0)),
        };
        match word {
            "start" => drop(service.start(h)),
            "stop" => service.stop(h),
            "reload" => assert!(service.reload(h)),
            "main" => service.ended(Role::Main, end, h),
            "control" => service.ended(Role::Control, end, h),
            "ready" => service.is_ready(h),
            "reloading" => service.is_reloading(h),
            "stopping" => service.is_stopping(h),
            "exec" => service.executed(h),
            "owned" => service.named(true, h),
            "unowned" => service.named(false, h),
            "lost" => service.bus_lost(h),
            "again" => service.watch_name_again(h),
            "oom" => service.out_of_memory(h),
            "alive" => service.alive(h),
            "others" => h.others = rest.split(' ').map(|pid| pid.parse().unwrap()).collect(),
            "gone" => {
                h.others.clear();
                service.other_ended(h);
            }
            "pidfile" => {
                h.pid_file = Ok(rest.parse().unwrap());
                service.look(h);
            }
            "late" => {
                h.now = service.due().expect("something is due");
                service.elapsed(h);
            }
            _ => panic!("{event}"),
        }
    }
    let result = if service.result == Outcome::Success { String::new() } else { format!(" {}", service.result.word()) };
    format!("{} -> {}{result}", script.did.join(" "), service.state.word())
}

#[test]
fn delays_grow() {
    let tree = Tree::new("manager-service-delays");
    tree.unit("a.service", "[Service]\nExecStart=/m\nRestartSec=1\nRestartSteps=4\nRestartMaxDelaySec=16\n");
    tree.unit("b.service", "[Service]\nExecStart=/m\nRestartSec=3\nRestartSteps=4\n");
    let seconds = |name: &str| {
        let config = Config::of(&tree.load(name));
        [1, 2, 3, 4, 5, 9].map(|n| config.delay_of(n).as_secs())
    };
    assert_eq!(seconds("a.service"), [1, 2, 4, 8, 16, 16]);
    assert_eq!(seconds("b.service"), [3; 6]);
}

#[test]
fn lives() {
    const SIMPLE: &str = "ExecStart=/m";
    const ALL: &str =
        "ExecCondition=/c\nExecStartPre=/p1\nExecStartPre=-/p2\nExecStart=/m\nExecStartPost=/q\nExecReload=/r\nExecStop=/s\nExecStopPost=/t";
    #[rustfmt::skip]
    let table = [
        (SIMPLE, "start", "m=11 -> running"),
        (SIMPLE, "start; main 0", "m=11 -> dead"),
        (SIMPLE, "start; main 3", "m=11 -> failed exit-code"),
        (SIMPLE, "start; main sig15", "m=11 -> dead"),
        (SIMPLE, "start; main sig9", "m=11 -> failed signal"),
        (SIMPLE, "start; stop", "m=11 kill15:11 -> stop-sigterm"),
        (SIMPLE, "start; stop; main sig15", "m=11 kill15:11 -> dead"),
        (SIMPLE, "start; stop; late", "m=11 kill15:11 kill9:11 -> stop-sigkill timeout"),
        (SIMPLE, "start; stop; late; main sig9", "m=11 kill15:11 kill9:11 -> failed timeout"),
        ("ExecStart=/m\nSendSIGKILL=no", "start; stop; late; main 0", "m=11 kill15:11 kill15:11 -> failed timeout"),
        ("ExecStart=/bad", "start", " -> failed resources"),
        ("ExecStart=-/m", "start; main 3", "m=11 -> dead"),
        ("ExecStart=/m\nSuccessExitStatus=3", "start; main 3", "m=11 -> dead"),
        ("ExecStart=/m\nRemainAfterExit=yes", "start; main 0", "m=11 -> exited"),
        ("ExecStart=/m\nRemainAfterExit=yes\nExecStop=/s", "start; main 0; stop; control 0", "m=11 s=12 -> dead"),
        // all steps
        (ALL, "start; control 0; control 0; control 4; control 0", "c=11 p1=12 p2=13 m=14 q=15 -> running"),
        (ALL, "start; control 0; control 0; control 4; control 0; main 0; control 0; control 0", "c=11 p1=12 p2=13 m=14 q=15 s=16 t=17 -> dead"),
        (ALL, "start; control 0; control 0; control 4; control 0; reload; control 0; stop; control 0", "c=11 p1=12 p2=13 m=14 q=15 r=16 s=17 kill15:14 -> stop-sigterm"),
        (ALL, "start; control 0; control 0; control 4; control 0; reload; control 1; stop; control 0; main 0; control 0", "c=11 p1=12 p2=13 m=14 q=15 r=16 s=17 kill15:14 t=18 -> dead"),
        (ALL, "start; control 3; control 0", "c=11 t=12 -> dead exec-condition"),
        (ALL, "start; control 255; control 0", "c=11 t=12 -> failed exit-code"),
        (ALL, "start; control 0; control 1; control 0", "c=11 p1=12 t=13 -> failed exit-code"),
        (ALL, "start; control 0; late", "c=11 p1=12 kill15:12 -> stop-sigterm timeout"),
        (ALL, "start; control 0; stop; control sig15; control 0", "c=11 p1=12 kill15:12 t=13 -> dead"),
        // types
        ("Type=oneshot\nExecStart=/a\nExecStart=/b", "start; main 0", "a=11 b=12 -> start"),
        ("Type=oneshot\nExecStart=/a\nExecStart=/b", "start; main 0; main 0", "a=11 b=12 -> dead"),
        ("Type=oneshot\nExecStart=/a\nExecStart=/b", "start; main 1", "a=11 -> failed exit-code"),
        ("Type=oneshot\nExecStart=/a", "start; main sig15", "a=11 -> failed signal"),
        ("Type=oneshot\nExecStart=/a\nRemainAfterExit=yes", "start; main 0", "a=11 -> exited"),
        ("Type=exec\nExecStart=/m", "start", "m=11 -> start"),
        ("Type=exec\nExecStart=/m", "start; exec", "m=11 -> running"),
        ("Type=exec\nExecStart=/m", "start; main 203", "m=11 -> failed exit-code"),
        ("Type=notify\nExecStart=/m", "start", "m=11 -> start"),
        ("Type=notify\nExecStart=/m", "start; ready", "m=11 -> running"),
        ("Type=notify\nExecStart=/m", "start; main 0", "m=11 -> failed protocol"),
        ("Type=notify\nExecStart=/m", "start; late", "m=11 kill15:11 -> stop-sigterm timeout"),
        ("Type=notify\nExecStart=/m", "start; ready; reloading; ready", "m=11 -> running"),
        ("Type=notify\nExecStart=/m", "start; ready; stopping; main 0", "m=11 -> dead"),
        ("Type=notify-reload\nExecStart=/m", "start; ready; reload; reloading; ready", "m=11 kill1:11 -> running"),
        ("Type=forking\nExecStart=/f", "start; others 20; control 0", "f=11 -> running"),
        ("Type=forking\nExecStart=/f", "start; others 20; control 0; main 0", "f=11 kill15:20 -> stop-sigterm"),
        ("Type=forking\nExecStart=/f", "start; control 0", "f=11 -> dead"),
        ("Type=forking\nExecStart=/f", "start; control 1", "f=11 -> failed exit-code"),
        ("Type=forking\nExecStart=/f\nPIDFile=/x", "start; control 0", "f=11 -> failed protocol"),
        ("Type=forking\nExecStart=/f\nPIDFile=/x", "start; others 20; control 0; pidfile 20", "f=11 -> running"),
        ("Type=forking\nExecStart=/f\nPIDFile=/x", "start; others 20; control 0; pidfile 20; pidfile 21; main 0", "f=11 -> running"),
        ("Type=forking\nExecStart=/f\nPIDFile=/x", "start; others 20; control 0; pidfile 20; pidfile 21; main 0; gone; main 0", "f=11 -> dead"),
        ("Type=forking\nExecStart=/f\nGuessMainPID=no", "start; others 20; control 0; gone", "f=11 -> dead"),
        // who is signalled
        (SIMPLE, "start; others 11 30; stop; main 0", "m=11 kill15:11 kill15:30 -> stop-sigterm"),
        (SIMPLE, "start; others 11 30; stop; others 30; main 0; late; gone", "m=11 kill15:11 kill15:30 kill9:30 -> failed timeout"),
        ("ExecStart=/m\nKillMode=process", "start; others 11 30; stop; main 0", "m=11 kill15:11 -> dead"),
        ("ExecStart=/m\nKillMode=mixed", "start; others 11 30; stop; others 30; main 0; gone", "m=11 kill15:11 kill9:30 -> dead"),
        ("ExecStart=/m\nKillMode=none", "start; stop", "m=11 -> dead"),
        ("ExecStart=/m\nKillSignal=SIGQUIT\nSendSIGHUP=yes", "start; stop", "m=11 kill3:11 kill1:11 -> stop-sigterm"),
        // a service's main process ends, and others stay: they are ended, too
        (SIMPLE, "start; others 30; main 0; gone", "m=11 kill15:30 -> dead"),
        // watchdog and time limits
        ("Type=notify\nExecStart=/m\nWatchdogSec=5", "start; ready; late", "m=11 kill6:11 -> stop-watchdog watchdog"),
        ("Type=notify\nExecStart=/m\nWatchdogSec=5", "start; ready; late; main sig6", "m=11 kill6:11 -> failed watchdog"),
        ("ExecStart=/m\nRuntimeMaxSec=5", "start; late; main sig15", "m=11 kill15:11 -> failed timeout"),
        // again
        ("ExecStart=/m\nRestart=always", "start; main 0", "m=11 -> auto-restart"),
        ("ExecStart=/m\nRestart=always", "start; main 0; start; main 3", "m=11 m=12 -> auto-restart exit-code"),
        ("ExecStart=/m\nRestart=always", "start; stop; main 0", "m=11 kill15:11 -> dead"),
        ("ExecStart=/m\nRestart=always", "start; main 0; stop", "m=11 -> dead"),
        ("ExecStart=/m\nRestart=on-failure", "start; main 0", "m=11 -> dead"),
        ("ExecStart=/m\nRestart=always\nRestartPreventExitStatus=7", "start; main 7", "m=11 -> failed exit-code"),
        ("ExecStart=/m\nRestartForceExitStatus=7", "start; main 7", "m=11 -> auto-restart exit-code"),
        ("ExecStart=/m\nRestart=always\nStartLimitBurst=2\nStartLimitIntervalSec=100", "start; main 1; start; main 1; start", "m=11 m=12 -> failed start-limit-hit"),
        ("ExecStart=/bad\nRestart=on-failure", "start", " -> auto-restart resources"),
        // time limits that do something else
        ("Type=notify\nExecStart=/m\nTimeoutStartFailureMode=abort", "start; late", "m=11 kill6:11 -> stop-watchdog timeout"),
        ("Type=notify\nExecStart=/m\nTimeoutStartFailureMode=kill", "start; late; main sig9", "m=11 kill9:11 -> failed timeout"),
        ("ExecStart=/m\nTimeoutStopFailureMode=abort", "start; stop; late; main sig6", "m=11 kill15:11 kill6:11 -> failed timeout"),
        ("ExecStart=/m\nExecStop=/s\nTimeoutStopFailureMode=kill", "start; stop; late", "m=11 s=12 kill9:11 kill9:12 -> stop-sigkill timeout"),
        ("ExecStart=/m\nTimeoutStopFailureMode=abort", "start; stop; late; late", "m=11 kill15:11 kill6:11 kill9:11 -> stop-sigkill timeout"),
        // a name on the message bus
        ("Type=dbus\nBusName=a.b\nExecStart=/m", "start; exec", "m=11 -> start"),
        ("Type=dbus\nBusName=a.b\nExecStart=/m", "start; unowned; owned", "m=11 -> running"),
        ("Type=dbus\nBusName=a.b\nExecStart=/m", "start; owned; unowned", "m=11 kill15:11 -> stop-sigterm"),
        ("Type=dbus\nBusName=a.b\nExecStart=/m\nRestart=on-success", "start; owned; unowned; main sig15", "m=11 kill15:11 -> auto-restart"),
        ("Type=dbus\nBusName=a.b\nExecStart=/m", "start; main 0", "m=11 -> dead"),
        ("Type=dbus\nBusName=a.b\nExecStart=/m", "start; late", "m=11 kill15:11 -> stop-sigterm timeout"),
        ("Type=dbus\nBusName=a.b\nExecStart=/m", "start; owned; lost; unowned; again; unowned", "m=11 kill15:11 -> stop-sigterm"),
        ("Type=dbus\nBusName=a.b\nExecStart=/m", "start; lost; owned", "m=11 -> running"),
        ("Type=dbus\nBusName=no.bus\nExecStart=/m", "start; owned", "m=11 -> start"),
        ("Type=dbus\nBusName=no.bus\nExecStart=/m", "start; exec", "m=11 -> running"),
        // memory ran out
        (SIMPLE, "start; others 30; oom", "m=11 kill15:11 kill15:30 -> stop-sigterm oom-kill"),
        (SIMPLE, "start; oom; main sig9", "m=11 kill15:11 -> failed oom-kill"),
        ("ExecStart=/m\nExecStop=/s\nRestart=on-failure", "start; oom; main sig9; control 0", "m=11 s=12 -> auto-restart oom-kill"),
        ("ExecStart=/m\nOOMPolicy=kill", "start; others 30; oom", "m=11 kill9:11 kill9:30 -> stop-sigkill oom-kill"),
        ("ExecStart=/m\nOOMPolicy=continue", "start; oom; main sig9", "m=11 -> failed signal"),
        ("ExecStart=/m\nOOMPolicy=continue", "start; others 30; oom", "m=11 -> running"),
        ("ExecStart=/m", "start; stop; oom", "m=11 kill15:11 kill9:11 -> stop-sigkill oom-kill"),
        // it runs as long as any process of it
        ("ExecStart=/m\nExitType=cgroup", "start; others 30; main 0", "m=11 -> running"),
        ("ExecStart=/m\nExitType=cgroup", "start; others 30; main 3; gone", "m=11 -> failed exit-code"),
        ("ExecStart=/m\nExitType=cgroup", "start; others 30; main 0; stop; gone", "m=11 kill15:30 -> dead"),
    ];
    let mut wrong = Vec::new();
    for (text, events, expected) in table {
        let found = play(text, events);
        if found != expected {
            wrong.push(format!("{text}\n  {events}\n  expected {expected}\n  found    {found}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}
