//! Completions for fish: one `complete` line for each verb and option.

use super::{Argument, Opt, Value, Word, alternatives, is_path};

const HEAD: &str = "\
# fish completion for hostel, made by `hostel generate completions fish`: do not edit

function __hostel_verb
    set -l words (commandline -opc)
    test (count $words) -ge 2; and contains -- $words[2] $argv
end
function __hostel_no_verb
    test (count (commandline -opc)) -eq 1
end

complete -c hostel -f
";

pub(super) fn text(words: &[Word]) -> String {
    let mut out = HEAD.to_owned();
    for word in words {
        out.push_str(&format!("complete -c hostel -n __hostel_no_verb -a {} -d {}\n", word.name, quoted(word.about)));
    }
    for word in words {
        out.push('\n');
        for option in &word.options {
            out.push_str(&format!("complete -c hostel -n '__hostel_verb {}'{}\n", word.name, spec(option)));
        }
        for argument in &word.then {
            let what = match argument {
                Argument::Machine | Argument::Machines => "-a '(hostel ps -q 2>/dev/null)'".to_owned(),
                Argument::Images => "-a '(hostel images -q 2>/dev/null)'".to_owned(),
                Argument::Kept => "-a '(command ls /var/lib/hostel/machines 2>/dev/null)'".to_owned(),
                Argument::Tree => "-a '(command ls /var/lib/machines 2>/dev/null; __fish_complete_directories)'".to_owned(),
                Argument::Directory => "-a '(__fish_complete_directories)'".to_owned(),
                Argument::OneOf(words) => format!("-a '{}'", words.join(" ")),
                Argument::Command => "-F".to_owned(),
            };
            out.push_str(&format!("complete -c hostel -n '__hostel_verb {}' {what}\n", word.name));
        }
    }
    let names: Vec<&str> = words.iter().map(|w| w.name).collect();
    out.push_str(&format!("complete -c hostel -n '__hostel_verb help' -a '{}'\n", names.join(" ")));
    out
}

/// In single quotes, where only `\` and `'` mean something.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

fn spec(option: &Opt) -> String {
    let mut out = String::new();
    for flag in &option.flags {
        match flag.strip_prefix("--") {
            Some(long) => out.push_str(&format!(" -l {long}")),
            None => out.push_str(&format!(" -s {}", flag.trim_start_matches('-'))),
        }
    }
    if let Value::Needed(value) | Value::Maybe(value) = &option.value {
        let known = alternatives(value);
        // An optional value is completed only after =, which fish does by itself without -r.
        let required = if matches!(option.value, Value::Needed(_)) { " -r" } else { "" };
        if known.len() > 1 {
            out.push_str(&format!("{required} -f -a '{}'", known.join(" ")));
        } else if is_path(value) {
            out.push_str(&format!("{required} -F"));
        } else {
            out.push_str(&format!("{required} -f"));
        }
    }
    out.push_str(&format!(" -d {}", quoted(&option.help)));
    out
}
