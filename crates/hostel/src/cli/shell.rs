//! `hostel shell`: a login shell in a running machine, as any of its users.

use std::ffi::OsString;

use hostel_spec::OsText;
use lexopt::Arg::{Long, Short, Value};
use lexopt::ValueExt;

use super::exec::{self, Order};
use super::{Failure, Outcome, Verb, look};
use crate::output;

/// The verb.
pub(super) const VERB: Verb = Verb {
    name: "shell",
    args: "[USER@]NAME [CMD...]",
    about: "a login shell in a running machine, as root or another of its users",
    options: &[
        ("-u, --user USER", "as USER@"),
        ("-E, --setenv NAME[=VALUE]", "set a variable"),
        ("-C, --chdir DIR", "directory in the machine (the user's home)"),
    ],
    examples: &[("hostel shell debian", "root's shell"), ("hostel shell anna@debian", "anna's")],
    run,
};

fn parse(args: &[OsString]) -> Result<Option<Order>, Failure> {
    let mut words = lexopt::Parser::from_args(args);
    let mut order: Option<Order> = None;
    let (mut user, mut env, mut cwd, mut argv) = (None, Vec::new(), None, Vec::new());
    while let Some(arg) = words.next()? {
        match arg {
            Short('u') | Long("user" | "uid") => user = Some(exec::user(&words.value()?.string()?)?),
            Short('E') | Long("setenv") => env.extend(exec::variable(words.value()?)?),
            Short('C') | Long("chdir") => cwd = Some(exec::directory(words.value()?)?),
            Short('h') | Long("help") => return Ok(None),
            Value(word) if order.is_none() => {
                let text = word.to_str().ok_or_else(|| Failure::Usage("the machine's name is not UTF-8".into()))?;
                let (who, name) = text.split_once('@').map_or((None, text), |(who, name)| (Some(who), name));
                if let Some(who) = who.filter(|w| !w.is_empty()) {
                    user = Some(exec::user(who)?);
                }
                order = Some(Order::new(look::name(std::ffi::OsStr::new(name))?));
            }
            Value(word) => {
                argv.push(OsText::from(word));
                argv.extend(words.raw_args()?.map(OsText::from));
            }
            other => return Err(other.unexpected().into()),
        }
    }
    let mut order = order.ok_or_else(|| Failure::Usage("which machine? give its name".into()))?;
    order.process.user = user;
    order.process.env = env;
    order.process.cwd = cwd;
    order.process.argv = argv;
    Ok(Some(order))
}

fn run(args: &[OsString]) -> Outcome {
    let Some(order) = parse(args)? else { return Ok(output::show(&super::verb_help(&VERB))) };
    exec::run_in(&order)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_and_names() {
        let parse = |line: &str| parse(&line.split_whitespace().map(Into::into).collect::<Vec<_>>());
        let order = parse("anna@debian").unwrap().unwrap();
        assert_eq!(order.name.as_str(), "debian");
        assert_eq!(order.process.user, Some(hostel_spec::UserSelector::Name("anna".into())));
        assert!(parse("debian").unwrap().unwrap().process.user.is_none());
        for bad in ["", "anna@", "a@b@c", "/x"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
