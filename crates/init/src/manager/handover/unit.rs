//! A unit's part of what is handed over.

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, UNIX_EPOCH};

use hostel_unit::UnitName;

use super::lines::{Saved, at, from_now, real, span, to_instant, to_real};
use crate::manager::live::{Live, Moments, Plain};
use crate::manager::log::Pipe;
use crate::manager::query::code;
use crate::manager::service::Run;
use crate::manager::socket::Connection;
use crate::manager::state::{Active, Outcome, State};
use crate::manager::{mount, path, socket, timer};

/// A unit's lines, if there is anything to say of it.
pub(super) fn unit<'a>(out: &mut Saved<'a>, live: &'a Live) {
    let rest = &live.rest;
    let moments = &rest.moments;
    out.line(&["unit", live.name().as_str()]);
    if moments.changed.is_none() && live.active() == Active::Inactive {
        return;
    }
    let reals =
        [moments.changed, moments.active_enter, moments.active_exit, moments.inactive_enter, moments.inactive_exit, moments.condition].map(real);
    let evens = [moments.inactive_enter_even, moments.inactive_exit_even].map(from_now);
    out.line(&["moments", &reals[0], &reals[1], &reals[2], &reals[3], &reals[4], &reals[5], &evens[0], &evens[1]]);
    out.line(&["marks", &rest.marks.invocation, &rest.marks.sessions.iter().map(i32::to_string).collect::<Vec<_>>().join(","), &rest.complaint]);
    if let Some((met, which)) = &rest.condition {
        out.line(&["condition", if *met { "met" } else { "" }, which.as_deref().unwrap_or_default()]);
    }
    if let Some(pipe) = &rest.pipe {
        let (read, write) = (out.fd(pipe.as_fd()), out.fd(pipe.writer()));
        out.line(&["pipe", &read, &write]);
    }
    for (name, fd, polled) in &rest.stored {
        let fd = out.fd(fd.as_fd());
        out.line(&["stored", name, &fd, if *polled { "" } else { "unpolled" }]);
    }
    if let Some(connection) = &rest.connection {
        let fd = out.fd(connection.fd.as_fd());
        out.line(&["connection", connection.socket.as_str(), &fd, &connection.peer.map_or_else(String::new, |peer| peer.to_string())]);
    }
    if let Some(s) = &live.service {
        out.line(&[
            "service",
            s.state.word(),
            s.result.word(),
            &s.main.map_or_else(String::new, |pid| pid.to_string()),
            &s.errno.to_string(),
            &s.status_text,
        ]);
        let (burst, begin) = s.limit.save();
        out.line(&[
            "times",
            &from_now(s.deadline),
            &from_now(s.bite),
            &span(s.watchdog),
            &from_now(s.run_until),
            &s.restarts.to_string(),
            &burst.to_string(),
            &from_now(begin),
        ]);
        if let Some(run) = s.main_run {
            let (at, code, status) = run.ended.map_or((String::new(), 0, 0), |(at, end)| {
                let (code, status) = code(end);
                (real(Some(at)), code, status)
            });
            out.line(&["run", &run.pid.to_string(), &real(Some(run.began)), &at, &code.to_string(), &status.to_string()]);
        }
    }
    plain(out, live);
}

fn plain(out: &mut Saved<'_>, live: &Live) {
    match &live.plain {
        Plain::Point(true) => out.line(&["point"]),
        Plain::Automount(true) => out.line(&["automount"]),
        Plain::Mount(mount) => out.line(&["mount", if mount.is_ours { "ours" } else { "" }, mount.state.word(), mount.result.word()]),
        Plain::Path(path) => out.line(&["path", path.state.word(), path.result.word()]),
        Plain::Timer(timer) => {
            let last = timer.last.map_or((String::new(), String::new()), |last| (real(Some(last.real)), from_now(last.even)));
            let started = timer.started.map_or((String::new(), String::new()), |started| (real(Some(started.real)), from_now(started.even)));
            let done: String = timer.done.iter().map(|done| if *done { '1' } else { '0' }).collect();
            out.line(&["timer", timer.state.word(), timer.result.word(), &last.0, &last.1, &started.0, &started.1, &done]);
        }
        Plain::Socket(socket) => {
            let counts = [socket.accepted, socket.refused].map(|n| n.to_string());
            out.line(&["socket", socket.state.word(), socket.result.word(), &counts[0], &counts[1]]);
            for (unit, address) in &socket.connections {
                out.line(&["of-socket", unit.as_str(), &address.map_or_else(String::new, |address| address.to_string())]);
            }
        }
        _ => {}
    }
}

/// Takes one of a unit's lines. What the unit is not any more is passed over.
pub(super) fn take_line(live: &mut Live, line: &[String], fd: &dyn Fn(usize) -> Option<OwnedFd>) {
    let word = |place: usize| at(line, place);
    match (word(0), &mut live.service, &mut live.plain) {
        ("moments", ..) => {
            let reals = [1, 2, 3, 4, 5, 6].map(|place| to_real(word(place)));
            let [changed, active_enter, active_exit, inactive_enter, inactive_exit, condition] = reals;
            let (inactive_enter_even, inactive_exit_even) = (to_instant(word(7)), to_instant(word(8)));
            live.rest.moments =
                Moments { changed, active_enter, active_exit, inactive_enter, inactive_exit, condition, inactive_enter_even, inactive_exit_even };
        }
        ("marks", ..) => {
            live.rest.marks.invocation = word(1).to_owned();
            live.rest.marks.sessions = word(2).split(',').filter_map(|pid| pid.parse().ok()).collect();
            live.rest.complaint = word(3).to_owned();
        }
        ("condition", ..) => live.rest.condition = Some((word(1) == "met", Some(word(2).to_owned()).filter(|which| !which.is_empty()))),
        ("pipe", ..) => live.rest.pipe = fd(1).zip(fd(2)).map(|(read, write)| Pipe::again(read, write)),
        ("stored", ..) => live.rest.stored.extend(fd(2).map(|fd| (word(1).to_owned(), fd, word(3) != "unpolled"))),
        ("connection", ..) => {
            live.rest.connection = fd(2).zip(UnitName::parse(word(1)).ok()).map(|(fd, socket)| Connection { fd, socket, peer: word(3).parse().ok() });
        }
        ("service", Some(s), _) => {
            let states = [State::Dead, State::Failed, State::Running, State::Exited, State::AutoRestart];
            s.state = states.into_iter().find(|state| state.word() == word(1)).unwrap_or(State::Dead);
            s.result = outcome(word(2));
            s.main = word(3).parse().ok();
            s.errno = word(4).parse().unwrap_or(0);
            s.status_text = word(5).to_owned();
        }
        ("times", Some(s), _) => {
            (s.deadline, s.bite, s.run_until) = (to_instant(word(1)), to_instant(word(2)), to_instant(word(4)));
            s.watchdog = word(3).parse().ok().map(Duration::from_micros);
            s.restarts = word(5).parse().unwrap_or(0);
            s.limit.again(word(6).parse().unwrap_or(0), to_instant(word(7)));
        }
        ("run", Some(s), _) => {
            use hostel_sys::clone::WaitStatus;
            let status = word(5).parse().unwrap_or(0);
            let end = match word(4) {
                "1" => Some(WaitStatus::Exited(status)),
                "2" | "3" => Some(WaitStatus::Signaled { signal: status, core: word(4) == "3" }),
                _ => None,
            };
            let began = to_real(word(2)).unwrap_or(UNIX_EPOCH);
            s.main_run = word(1).parse().ok().map(|pid| Run { pid, began, ended: to_real(word(3)).zip(end) });
        }
        ("point", _, plain @ Plain::Point(_)) => *plain = Plain::Point(true),
        ("automount", _, plain @ Plain::Automount(_)) => *plain = Plain::Automount(true),
        ("mount", _, Plain::Mount(mount)) => {
            mount.is_ours = word(1) == "ours" && mount.state == mount::State::Mounted;
            mount.result = outcome(word(3));
            if word(2) == "failed" && mount.state == mount::State::Dead {
                mount.state = mount::State::Failed;
            }
        }
        ("path", _, Plain::Path(path)) => {
            use path::State::{Dead, Failed, Running, Waiting};
            path.state = [Dead, Failed, Running, Waiting].into_iter().find(|state| state.word() == word(1)).unwrap_or(Dead);
            path.result = outcome(word(2));
        }
        ("timer", _, Plain::Timer(timer)) => {
            use timer::State::{Dead, Elapsed, Failed, Running, Waiting};
            timer.state = [Dead, Failed, Running, Waiting, Elapsed].into_iter().find(|state| state.word() == word(1)).unwrap_or(Dead);
            timer.result = outcome(word(2));
            let moment = |first: usize| to_real(word(first)).map(|real| timer::Moment { real, even: to_instant(word(first + 1)) });
            (timer.last, timer.started) = (moment(3), moment(5));
            if word(7).len() == timer.done.len() {
                timer.done = word(7).chars().map(|c| c == '1').collect();
            }
        }
        ("socket", _, Plain::Socket(socket)) => {
            use socket::State::{Dead, Failed, Listening, Running};
            socket.state = [Dead, Failed, Listening, Running].into_iter().find(|state| state.word() == word(1)).unwrap_or(Dead);
            socket.result = outcome(word(2));
            (socket.accepted, socket.refused) = (word(3).parse().unwrap_or(0), word(4).parse().unwrap_or(0));
        }
        ("of-socket", _, Plain::Socket(socket)) => socket.connections.extend(UnitName::parse(word(1)).ok().map(|unit| (unit, word(2).parse().ok()))),
        _ => {}
    }
}

fn outcome(word: &str) -> Outcome {
    Outcome::ALL.into_iter().find(|outcome| outcome.word() == word).unwrap_or(Outcome::Success)
}
