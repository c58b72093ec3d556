//! The manager's own socket: a request, its answer, then the end of the connection.
//!
//! ```text
//!  client                                   manager
//!   length, VERB NUL ARGUMENT NUL … ──────►  who is it? may it? do it
//!                                  ◄──────  length, 'R' NAME NUL VALUE NUL …     a record
//!                                  ◄──────  length, 'J' ID NUL UNIT              a job was made
//!                                  ◄──────  length, 'X' STATUS NUL UNIT NUL WHY  it was not, or something was not done
//!                                  ◄──────  length, 'F' ID NUL UNIT NUL RESULT   a job is over (with `wait`)
//!                                  ◄──────  length, 'E' UNIT NUL STATE           a unit is down again (with `wait` for that)
//!                                  ◄──────  length, '.'                          that was all
//! ```
//! Lengths are four bytes, the least significant first. Who is at the other end the kernel says; only root and the manager's own
//! user may change anything.

pub mod client;
pub mod server;

use hostel_spec::Signal;
use hostel_unit::UnitName;

use crate::manager::End;
use crate::manager::query::{Request, Whom};
use crate::transaction::{JobMode, JobType};

/// Longest request, in bytes.
pub const REQUEST_MAX: usize = 64 << 10;
/// Longest frame of an answer, in bytes.
pub const FRAME_MAX: usize = 1 << 20;

/// A request as it stands on the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// What.
    pub request: Request,
    /// How long the connection stays.
    pub wait: Wait,
}

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// The answer.
    Answer,
    /// That the jobs are over.
    Jobs,
    /// That their units are down again, too.
    Ends,
}

impl Wait {
    /// The verb of a request for jobs.
    fn verb(self) -> &'static str {
        match self {
            Wait::Answer => "job",
            Wait::Jobs => "job-wait",
            Wait::Ends => "job-wait-end",
        }
    }
}

/// Directories in which the socket may be, the one of a system manager first.
pub fn directories() -> Vec<String> {
    let mut all = vec!["/run/hostel-init".to_owned()];
    if !rustix::process::geteuid().is_root() {
        if let Ok(own) = std::env::var("XDG_RUNTIME_DIR") {
            all.push(format!("{own}/hostel-init"));
        }
        all.push(format!("/tmp/hostel-init-{}", rustix::process::geteuid().as_raw()));
    }
    all
}

/// Puts a request into words.
pub fn words(asked: &Asked) -> Vec<String> {
    let names = |units: &[UnitName]| units.iter().map(UnitName::to_string).collect::<Vec<_>>();
    let with = |begin: &[&str], rest: Vec<String>| begin.iter().map(|w| (*w).to_owned()).chain(rest).collect();
    match &asked.request {
        Request::Job(kind, mode, units) => with(&[asked.wait.verb(), kind.word(), mode.word()], names(units)),
        Request::Kill(whom, signal, units) => {
            let whom = match whom {
                Whom::Main => "main",
                Whom::Control => "control",
                Whom::All => "all",
            };
            with(&["kill", whom, &signal.to_string()], names(units))
        }
        Request::Freeze(frozen, units) => with(&[if *frozen { "freeze" } else { "thaw" }], names(units)),
        Request::Clean(what, units) => with(&["clean", &what.join(",")], names(units)),
        Request::SetProperty(runtime, unit, pairs) => {
            with(&["set-property", if *runtime { "runtime" } else { "lasting" }, unit.as_str()], pairs.clone())
        }
        Request::ResetFailed(units) => with(&["reset-failed"], names(units)),
        Request::Reload => with(&["reload"], Vec::new()),
        Request::Reexecute => with(&["reexecute"], Vec::new()),
        Request::Show(units) => with(&["show"], names(units)),
        Request::List => with(&["list"], Vec::new()),
        Request::Jobs => with(&["jobs"], Vec::new()),
        Request::Cancel(ids) => with(&["cancel"], ids.iter().map(u32::to_string).collect()),
        Request::Manager => with(&["manager"], Vec::new()),
        Request::Environment => with(&["environment"], Vec::new()),
        Request::SetEnvironment(pairs) => with(&["set-environment"], pairs.clone()),
        Request::UnsetEnvironment(pairs) => with(&["unset-environment"], pairs.clone()),
        Request::RotateLog => with(&["rotate-log"], Vec::new()),
        Request::End(end) => with(&["end"], end.words()),
        Request::EndNow(end) => with(&["end-now"], end.words()),
        Request::EndAt(end, micros) => with(&["end-at", &micros.to_string()], end.words()),
        Request::EndNot => with(&["end-not"], Vec::new()),
    }
}

/// Understands the words of a request; anything may be in them.
pub fn parse(body: &[u8]) -> Result<Asked, String> {
    let text = std::str::from_utf8(body).map_err(|_| "it is not UTF-8".to_owned())?;
    let mut words = text.split('\0');
    let verb = words.next().unwrap_or_default();
    let mut next = || words.next().ok_or_else(|| format!("{verb}: something is missing"));
    let names = |words: std::str::Split<'_, char>| {
        let all: Result<Vec<UnitName>, String> =
            words.filter(|w| !w.is_empty()).map(|w| UnitName::parse(w).map_err(|e| format!("{w:?}: {}", e.why))).collect();
        all
    };
    let request = match verb {
        "job" | "job-wait" | "job-wait-end" => {
            let kind = JobType::parse(next()?).ok_or("it is no kind of job")?;
            let mode = JobMode::parse(next()?).ok_or("it is no job mode")?;
            Request::Job(kind, mode, names(words)?)
        }
        "kill" => {
            let whom = match next()? {
                "main" => Whom::Main,
                "control" => Whom::Control,
                "all" => Whom::All,
                _ => return Err("kill: it is neither main, control nor all".to_owned()),
            };
            let signal = Signal::parse(next()?).map_err(|_| "kill: it is no signal")?.raw();
            Request::Kill(whom, signal, names(words)?)
        }
        "freeze" | "thaw" => Request::Freeze(verb == "freeze", names(words)?),
        "clean" => {
            let what = next()?.split(',').filter(|word| !word.is_empty()).map(str::to_owned).collect();
            Request::Clean(what, names(words)?)
        }
        "set-property" => {
            let runtime = next()? == "runtime";
            let unit = UnitName::parse(next()?).map_err(|e| e.why.to_owned())?;
            Request::SetProperty(runtime, unit, words.map(str::to_owned).collect())
        }
        "reset-failed" => Request::ResetFailed(names(words)?),
        "reload" => Request::Reload,
        "reexecute" => Request::Reexecute,
        "show" => Request::Show(names(words)?),
        "list" => Request::List,
        "jobs" => Request::Jobs,
        "cancel" => {
            Request::Cancel(words.filter(|w| !w.is_empty()).map(|w| w.parse().map_err(|_| format!("{w:?} is no job"))).collect::<Result<_, _>>()?)
        }
        "manager" => Request::Manager,
        "environment" => Request::Environment,
        "set-environment" => Request::SetEnvironment(words.filter(|w| !w.is_empty()).map(str::to_owned).collect()),
        "unset-environment" => Request::UnsetEnvironment(words.filter(|w| !w.is_empty()).map(str::to_owned).collect()),
        "rotate-log" => Request::RotateLog,
        "end" => Request::End(End::of_words(&mut words)?),
        "end-now" => Request::EndNow(End::of_words(&mut words)?),
        "end-at" => {
            // a moment that no clock has is no moment
            let micros = next()?.parse().ok().filter(|micros| *micros < 1 << 60).ok_or("end-at: it is no time")?;
            Request::EndAt(End::of_words(&mut words)?, micros)
        }
        "end-not" => Request::EndNot,
        _ => return Err(format!("there is no request {verb:?}")),
    };
    let wait = [Wait::Jobs, Wait::Ends].into_iter().find(|wait| wait.verb() == verb).unwrap_or(Wait::Answer);
    Ok(Asked { request, wait })
}

/// A frame: its length, then itself.
pub fn frame(body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
    let mut out = length.to_le_bytes().to_vec();
    out.extend_from_slice(body);
    out
}

/// Takes a whole frame off the front of a buffer; `Ok(None)`: it is not all there. An error when it is longer than `most`.
pub fn take_frame(buffer: &mut Vec<u8>, most: usize) -> Result<Option<Vec<u8>>, &'static str> {
    let Some(header) = buffer.first_chunk::<4>() else { return Ok(None) };
    let length = u32::from_le_bytes(*header) as usize;
    if length > most {
        return Err("it is too long");
    }
    if buffer.len() < 4 + length {
        return Ok(None);
    }
    let body = buffer.get(4..4 + length).unwrap_or_default().to_vec();
    buffer.drain(..4 + length);
    Ok(Some(body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_come_back() {
        let unit = |name: &str| UnitName::parse(name).unwrap();
        #[rustfmt::skip]
        let all = [
            Request::Job(JobType::Restart, JobMode::Replace, vec![unit("a.service"), unit("b@x.socket")]),
            Request::Kill(Whom::Main, 15, vec![unit("a.service")]),
            Request::Freeze(true, vec![unit("a.service")]), Request::Freeze(false, vec![]), Request::Clean(vec!["all".into()], vec![unit("a.service")]),
            Request::SetProperty(true, unit("a.service"), vec!["A=b c".into(), "B=".into()]),
            Request::ResetFailed(vec![]), Request::Reload, Request::Reexecute, Request::Show(vec![unit("a.service")]), Request::List, Request::Jobs, Request::Cancel(vec![1, 2]),
            Request::Manager, Request::Environment, Request::SetEnvironment(vec!["A=b c".into()]), Request::UnsetEnvironment(vec!["A".into()]),
            Request::RotateLog, Request::End(End::Exit(7)), Request::End(End::PowerOff), Request::End(End::Reboot), Request::End(End::Halt),
            Request::EndNow(End::Reboot), Request::EndAt(End::Halt, 1 << 50), Request::EndNot,
        ];
        for request in all {
            let is_job = matches!(request, Request::Job(..));
            for wait in [Wait::Answer, Wait::Jobs, Wait::Ends].into_iter().take(if is_job { 3 } else { 1 }) {
                let asked = Asked { wait, request: request.clone() };
                assert_eq!(parse(words(&asked).join("\0").as_bytes()), Ok(asked));
            }
        }
        for bad in [
            "",
            "x",
            "job",
            "job\0start",
            "job\0start\0replace\0no name",
            "kill\0all\0TERMINATE",
            "end\0exit\x00256",
            "end\0exit\0-1",
            "end-at\0x\0halt",
            "end-at\x005\0frob",
            "end-now",
            "\u{0}",
        ] {
            assert!(parse(bad.as_bytes()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn frames() {
        let mut buffer = frame(b"abc");
        buffer.extend_from_slice(&frame(b""));
        buffer.push(1);
        assert_eq!(take_frame(&mut buffer, 10), Ok(Some(b"abc".to_vec())));
        assert_eq!(take_frame(&mut buffer, 10), Ok(Some(Vec::new())));
        assert_eq!(take_frame(&mut buffer, 10), Ok(None));
        assert!(take_frame(&mut frame(&[0; 11]), 10).is_err());
    }
}
