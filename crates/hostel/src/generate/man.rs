//! Manual pages: hostel(1), one for each verb, and those of personalities, in man(7).

use hostel_nspawn::VARIABLES;
use hostel_nspawn::options::{Compat, GROUPS, OptionRow, Status};

use super::{Opt, Value, machinectl_options, native_options, nspawn_option, parse_typed, takes_machine_options};
use crate::cli::{VERBS, Verb};
use crate::personality::{PERSONALITIES, machinectl, nspawn_enter, nspawn_stop};

/// One page.
#[derive(Debug)]
pub struct Page {
    /// `hostel-run.1`.
    pub file: String,
    /// Its source.
    pub text: String,
}

/// Every page.
pub fn pages() -> Vec<Page> {
    let listed = || VERBS.iter().filter(|v| !v.about.is_empty());
    let mut out = vec![Page { file: "hostel.1".into(), text: main_page(&listed().copied().collect::<Vec<_>>()) }];
    out.extend(listed().map(|verb| Page { file: format!("hostel-{}.1", verb.name), text: verb_page(verb) }));
    out.extend(PERSONALITIES.iter().filter(|p| p.name == "systemd-nspawn").map(|p| {
        let word = p.word.unwrap_or(p.name);
        Page { file: format!("hostel-{word}.1"), text: nspawn_page(word, p.about) }
    }));
    out.extend(
        PERSONALITIES.iter().filter(|p| p.name == "machinectl").map(|p| Page { file: "hostel-machinectl.1".into(), text: machinectl_page(p.about) }),
    );
    out.push(tool_page("nspawn-enter", nspawn_enter::HELP, ENTER_STATUS));
    out.push(tool_page("nspawn-stop", nspawn_stop::HELP, STOP_STATUS));
    out
}

const ENTER_STATUS: &str = "That of the shell; 1 when the machine could not be entered, 2 when the command line is wrong.";
const STOP_STATUS: &str = "0 when the machine has ended; 1 when it could not be asked to, 2 when the command line is wrong, 5 when it still runs \
     after the time given.";

/// A page on its way.
struct Roff(String);

impl Roff {
    fn new(title: &str, about: &str) -> Self {
        let mut page = Self(".\\\" Made by `hostel generate man`: do not edit.\n".into());
        let version = format!("hostel {}", env!("CARGO_PKG_VERSION"));
        page.0.push_str(&format!(".TH {} 1 \"\" \"{version}\" \"hostel\"\n", title.to_uppercase()));
        page.section("NAME");
        page.text(&format!("{title} - {about}"));
        page
    }
    fn section(&mut self, title: &str) {
        self.0.push_str(&format!(".SH {title}\n"));
    }
    fn subsection(&mut self, title: &str) {
        self.0.push_str(&format!(".SS {title}\n"));
    }
    fn text(&mut self, text: &str) {
        self.0.push_str(&escape(text));
        self.0.push('\n');
    }
    /// A line of input, as it is typed.
    fn synopsis(&mut self, command: &str, args: &str) {
        self.0.push_str(&format!(".B {}\n{}\n", escape(command), escape(args)));
    }
    fn item(&mut self, label: &str, text: &str) {
        self.0.push_str(&format!(".TP\n{label}\n"));
        self.text(text);
    }
    fn bold_item(&mut self, label: &str, text: &str) {
        let label = format!("\\fB{}\\fR", escape(label));
        self.item(&label, text);
    }
    fn option(&mut self, option: &Opt, text: &str) {
        let last = option.flags.len().saturating_sub(1);
        let label = option.flags.iter().enumerate().map(|(at, flag)| {
            let long = flag.starts_with("--");
            let value = match &option.value {
                // Said once, with the last spelling.
                _ if at != last => String::new(),
                Value::None => String::new(),
                Value::Needed(v) => format!("{}\\fI{}\\fR", if long { "=" } else { " " }, escape(v)),
                Value::Maybe(v) => format!("[={}]", format_args!("\\fI{}\\fR", escape(v))),
            };
            format!("\\fB{}\\fR{value}", escape(flag))
        });
        let label = label.collect::<Vec<_>>().join(", ");
        self.item(&label, text);
    }
    fn examples(&mut self, examples: &[(&str, &str)]) {
        if examples.is_empty() {
            return;
        }
        self.section("EXAMPLES");
        for (command, about) in examples {
            self.bold_item(command, about);
        }
    }
    fn see_also(&mut self, pages: &[String]) {
        self.section("SEE ALSO");
        let pages: Vec<String> = pages.iter().map(|p| format!("\\fB{}\\fR(1)", escape(p))).collect();
        self.0.push_str(&pages.join(",\n"));
        self.0.push('\n');
    }
}

/// Text as roff takes it: nothing in it is a request, and hyphens are those that can be copied.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    for line in text.split('\n') {
        if !out.is_empty() {
            out.push('\n');
        }
        if line.starts_with(['.', '\'']) {
            out.push_str("\\&");
        }
        for c in line.chars() {
            match c {
                '\\' => out.push_str("\\e"),
                '-' => out.push_str("\\-"),
                '\'' => out.push_str("\\(aq"),
                '`' => out.push_str("\\(ga"),
                '^' => out.push_str("\\(ha"),
                '~' => out.push_str("\\(ti"),
                '…' => out.push_str("..."),
                other => out.push(other),
            }
        }
    }
    out
}

const EXIT: [(&str, &str); 10] = [
    ("0", "Done. For a command run in a machine, its own status; 128 and a signal's number when that ended it."),
    ("1", "It could not be done; the reason and a hint are on standard error."),
    ("2", "The command line is wrong."),
    ("3", "The machine, or its tree, is busy; of stop --strict: it does not run."),
    ("4", "Of stop: the machine did not end by itself and was killed."),
    ("5", "Of stop --no-kill: the machine still runs."),
    ("133", "Of run: the command asked for a reboot, which a command does not get."),
    ("125", "Of run, exec, shell and enter: no command was run (in place of 1 and 3, not to be taken for a command's own)."),
    ("126", "Of the same: the command is there, but cannot be executed."),
    ("127", "Of the same: there is no such command."),
];

const ENVIRONMENT: [(&str, &str); 2] =
    [("HOSTEL_RUNTIME_DIR", "Where running machines are registered (/run/hostel)."), ("NO_COLOR", "Passed on; machines are not asked for colours.")];

const FILES: [(&str, &str); 4] = [
    ("/run/hostel/machines/NAME/", "A running machine: state.json, control socket, lock, undo journal, console.log."),
    ("/run/hostel/logs/NAME.log", "The console log of the last machine of that name that ended."),
    ("/var/lib/machines/NAME", "A tree found by its name."),
    ("/var/lib/hostel/machines/NAME", "A machine kept by `hostel run --keep NAME`."),
];

fn main_page(verbs: &[&Verb]) -> String {
    let mut page = Roff::new("hostel", "whole Linux systems as lightweight machines");
    page.section("SYNOPSIS");
    page.synopsis("hostel", "VERB [ARGUMENTS]");
    page.section("DESCRIPTION");
    page.text(
        "hostel runs a tree of files with an operating system in it as a machine: in namespaces and a cgroup of its own, \
         with a PID 1 of its own, be that an init or a single command. Without a tree it runs a throw-away overlay of this host. \
         There is no daemon: each machine has one supervisor, and ends with it. systemd and D-Bus are not needed.",
    );
    page.section("VERBS");
    for verb in verbs {
        page.item(&format!("\\fB{}\\fR \\fI{}\\fR", escape(verb.name), escape(verb.args)), &format!("{}. See hostel-{}(1).", verb.about, verb.name));
    }
    for p in &PERSONALITIES {
        page.item(
            &format!("\\fB{}\\fR", escape(p.word.unwrap_or(p.name))),
            &format!("{}. Also as {}, when hostel is called by that name (hostel-link(1)).", p.about, p.name),
        );
    }
    for (title, rows) in [("EXIT STATUS", &EXIT[..]), ("ENVIRONMENT", &ENVIRONMENT), ("FILES", &FILES)] {
        page.section(title);
        for (label, text) in rows {
            page.bold_item(label, text);
        }
    }
    page.see_also(
        &verbs
            .iter()
            .map(|v| format!("hostel-{}", v.name))
            .chain(["nspawn-enter", "nspawn-stop", "systemd-nspawn"].map(String::from))
            .collect::<Vec<_>>(),
    );
    page.0
}

fn verb_page(verb: &Verb) -> String {
    let mut page = Roff::new(&format!("hostel-{}", verb.name), verb.about);
    page.section("SYNOPSIS");
    page.synopsis(&format!("hostel {}", verb.name), verb.args);
    let options: Vec<Opt> = verb.options.iter().map(|(typed, help)| parse_typed(typed, help)).collect();
    let machine = takes_machine_options(verb);
    if !options.is_empty() || machine {
        page.section("OPTIONS");
        for option in options.iter().cloned().chain(native_options().filter(|_| machine)) {
            page.option(&option, &option.help);
        }
        if machine {
            page.0.push_str(".P\n");
            page.text("And every option of hostel-nspawn(1).");
        }
    }
    page.examples(verb.examples);
    page.see_also(&["hostel".to_string()]);
    page.0
}

fn nspawn_page(word: &str, about: &str) -> String {
    let mut page = Roff::new(&format!("hostel-{word}"), about);
    page.section("SYNOPSIS");
    page.synopsis(&format!("hostel {word}"), "[OPTION...] [COMMAND [ARGUMENT...]]");
    page.0.push_str(".br\n");
    page.synopsis("systemd-nspawn", "[OPTION...] [COMMAND [ARGUMENT...]]");
    page.section("DESCRIPTION");
    page.text("Takes the command line of systemd-nspawn(1) and does what that does, without systemd. What differs is said with each option.");
    page.section("OPTIONS");
    for group in &GROUPS {
        let rows: Vec<&OptionRow> = group.rows.iter().filter(|r| !r.hidden).collect();
        if rows.is_empty() {
            continue;
        }
        page.subsection(group.title);
        for row in rows {
            page.option(&nspawn_option(row), &description(row));
        }
    }
    page.section("ENVIRONMENT");
    for variable in &VARIABLES {
        page.bold_item(variable.name, &format!("{}. Here: {}.", variable.meaning, variable.here));
    }
    page.section("EXIT STATUS");
    page.text("That of the command, or of the machine's init; 1 when the machine could not be started; 133 when it asked for a reboot and may not have one; 255 when it was killed by a signal.");
    page.see_also(&["hostel".into(), "systemd-nspawn".into()]);
    page.0
}

fn machinectl_page(about: &str) -> String {
    let mut page = Roff::new("hostel-machinectl", about);
    page.section("SYNOPSIS");
    page.synopsis("hostel machinectl", "[OPTION...] VERB [NAME...]");
    page.0.push_str(".br\n");
    page.synopsis("machinectl", "[OPTION...] VERB [NAME...]");
    page.section("DESCRIPTION");
    page.text("Takes the command line of machinectl(1) and does what that does, out of hostel's state directory: without systemd-machined.");
    page.section("COMMANDS");
    for row in machinectl::GROUPS.iter().flat_map(|(_, rows)| rows.iter()) {
        page.bold_item(format!("{} {}", row.names.join(", "), row.args).trim_end(), &format!("{}.", row.help));
    }
    page.section("OPTIONS");
    for (option, row) in machinectl_options().zip(&machinectl::options::ROWS) {
        let differs = if row.differs.is_empty() { String::new() } else { format!(" Differs: {}.", row.differs) };
        page.option(&option, &format!("{}.{differs}", row.help));
    }
    page.section("EXIT STATUS");
    page.text("0 or 1; of shell and login, that of the command.");
    page.see_also(&["hostel".into(), "machinectl".into()]);
    page.0
}

/// Of a tool whose help says all: `usage: NAME ARGS`, what it does, lines of options.
fn tool_page(name: &str, help: &str, status: &str) -> Page {
    let mut parts = help.split("\n\n");
    let usage = parts.next().unwrap_or_default();
    let about = parts.next().unwrap_or_default();
    let mut page = Roff::new(name, about.split(['.', ',']).next().unwrap_or_default().to_lowercase().trim());
    page.section("SYNOPSIS");
    page.synopsis(name, usage.split_once(name).map_or("", |(_, args)| args.trim()));
    page.section("DESCRIPTION");
    page.text(about);
    page.section("OPTIONS");
    for line in parts.flat_map(str::lines).map(str::trim) {
        let Some((typed, text)) = line.split_once("  ") else { continue };
        let option = parse_typed(typed, text.trim());
        page.option(&option, &option.help);
    }
    page.section("EXIT STATUS");
    page.text(status);
    page.see_also(&["hostel".into(), "hostel-link".into()]);
    Page { file: format!("{name}.1"), text: page.0 }
}

fn description(row: &OptionRow) -> String {
    let mut text = row.help.trim_end_matches('.').to_owned();
    text.push('.');
    if let Some(key) = row.key {
        text.push_str(&format!(" In .nspawn files: {key}{}.", if row.trusted_only { " (trusted ones only)" } else { "" }));
    }
    match row.status {
        Status::Built | Status::Never(_) => {}
        Status::Partly(refused) => text.push_str(&format!(" In part: {refused}.")),
    }
    match row.compat {
        Compat::Same => {}
        Compat::Better(how) | Compat::Differs(how) => text.push_str(&format!(" Unlike the original: {how}.")),
        Compat::Refused(why) => text.push_str(&format!(" Refused: {why}.")),
    }
    text
}
