//! What a process inside a machine sees and may do, printed as JSON: run it as PID 1 or as anything else.
//!
//! `hostel-probe json` prints the view, `attempts` tries dangerous acts in harmless ways, the rest are small
//! payloads (sleep, exit, signals, reboot, load). Several run one after the other with `then` between them.
//! As `/sbin/init` its words come from /etc/probe-init, or it idles. With `HOSTEL_PROBE_POSE` set its words are for whoever
//! reads its command line.

mod acts;
mod attempts;
mod attempts_kernel;
mod attempts_mount;
mod deaf;
mod json;
mod net;
mod paths;
mod sys;
mod view;

use std::io::Write;

const USAGE: &str = "usage: hostel-probe WORDS [then WORDS]...
  json [FILE]            what this process sees
  attempts               dangerous acts, harmless even when let through: name -> denied, allowed, passed, killed, absent
  unmask                 try to take the masks of /proc off, in this mount namespace
  sleep [SECONDS]        idle; reap; end with 0 on SIGTERM
  exit N | kill SIG [PID] | reboot | poweroff | halt
  catch                  print each signal that comes, end never (but by SIGKILL)
  ignore                 ignore every signal, sleep
  winsize                print rows and columns now and at each SIGWINCH
  echo                   copy stdin to stdout in lines `got: LINE`, end at EOF with `eof`
  fork N                 start N idle children, print how many there could be
  eat MIB                use this much memory, print `ate N`
  flood BYTES            write this much to stdout
  orphan                 leave an orphan, print whether PID 1 reaped it within two seconds
  notify TEXT            send TEXT to $NOTIFY_SOCKET
  udp-echo PORT          send back every datagram that comes to this port
  notify-store TEXT DATA send TEXT to it with a file that has DATA in it
  journal-stream ID FILE write `first` to journald's stdout as ID, and `second` when there is such a file
  notify-badly           send it what no honest program would
  syncs                  print what a bad fsync and an open with O_SYNC and O_DSYNC give
  sockets N…             print what socket(N, SOCK_DGRAM) gives
  scan PID TXET          look for TEXT, given backwards, in the memory of a process
  visitor TXET           wait for a process that comes from outside, tell what can be had of it, power off (as PID 1)
  thaw FILE              try to make the mount a file is on writable, and to clone it
  deaf [DIR]             make /run, or DIR, a place where nobody's lookup is answered, say so
  fds N                  open N descriptors, print how many there could be
  touch FILE | say TEXT";

fn main() {
    let mut args: Vec<String> = std::env::args_os().map(|a| a.to_string_lossy().into_owned()).collect();
    if let Ok(socket) = std::env::var("HOSTEL_PROBE_POSE") {
        acts::pose(&socket);
    }
    let me = args.remove(0);
    if me.rsplit('/').next() == Some("init") && args.first().is_none_or(|a| !is_word(a)) {
        let script = std::fs::read_to_string("/etc/probe-init").unwrap_or_else(|_| "sleep".into());
        args = script.split_whitespace().map(str::to_string).collect();
    }
    if args.is_empty() {
        eprintln!("{USAGE}");
        std::process::exit(2);
    }
    for words in args.split(|a| a == "then") {
        run(words);
    }
    let _ = std::io::stdout().flush();
}

fn is_word(word: &str) -> bool {
    USAGE.split_whitespace().any(|w| w == word)
}

fn number(words: &[String], at: usize, default: i64) -> i64 {
    words.get(at).map_or(default, |w| w.parse().unwrap_or_else(|_| usage(w)))
}

fn usage(word: &str) -> ! {
    eprintln!("hostel-probe: not understood: {word}\n{USAGE}");
    std::process::exit(2);
}

fn run(words: &[String]) {
    let text = |at: usize| words.get(at).map_or("", String::as_str);
    match text(0) {
        "json" => {
            let seen = format!("{}\n", view::look());
            match words.get(1) {
                Some(file) => std::fs::write(file, seen).unwrap_or_else(|e| eprintln!("write {file}: {e}")),
                None => acts::print(&seen),
            }
        }
        "attempts" => acts::print(&format!("{}\n", attempts::all())),
        "unmask" => acts::print(&format!("{}\n", attempts_mount::unmask())),
        "sleep" => acts::sleep(words.get(1).map(|_| number(words, 1, 0))),
        "exit" => std::process::exit(number(words, 1, 0) as i32),
        "kill" => acts::kill(text(1), number(words, 2, i64::from(std::process::id())) as i32),
        "reboot" | "poweroff" | "halt" => acts::reboot(text(0)),
        "catch" => acts::catch(),
        "ignore" => acts::ignore(),
        "winsize" => acts::winsize(),
        "echo" => acts::echo(),
        "fork" => acts::fork_many(number(words, 1, 10)),
        "eat" => acts::eat(number(words, 1, 1) as usize),
        "flood" => acts::flood(number(words, 1, 1 << 20) as u64),
        "orphan" => acts::orphan(),
        "notify" => acts::notify(text(1)),
        "udp-echo" => acts::udp_echo(number(words, 1, 7) as u16),
        "notify-store" => acts::notify_store(text(1), text(2)),
        "journal-stream" => acts::journal_stream(text(1), text(2)),
        "notify-badly" => acts::notify_badly(),
        "syncs" => acts::syncs(),
        "sockets" => acts::sockets(&words[1..]),
        "scan" => acts::scan(text(1), text(2)),
        "thaw" => acts::thaw(text(1)),
        "visitor" => acts::visitor(text(1)),
        "deaf" => match deaf::make(words.get(1).map_or("/run", String::as_str)) {
            Ok(()) => acts::print("deaf now\n"),
            Err(e) => acts::print(&format!("not deaf: {e}\n")),
        },
        "fds" => acts::many_fds(number(words, 1, 10)),
        "touch" => {
            if let Err(e) = std::fs::OpenOptions::new().create(true).append(true).open(text(1)) {
                eprintln!("touch {}: {e}", text(1));
                std::process::exit(1);
            }
        }
        "say" => acts::print(&format!("{}\n", words[1..].join(" "))),
        other => usage(other),
    }
}
