//! Completions for zsh: `_arguments` for each verb.

use super::{Argument, Opt, Value, Word, alternatives, is_path};

const HEAD: &str = "\
#compdef hostel
# zsh completion for hostel, made by `hostel generate completions zsh`: do not edit

_hostel_machines() {
    local -a machines
    machines=(${(f)\"$(hostel ps -q 2>/dev/null)\"})
    _describe -t machines machine machines
}

_hostel_trees() {
    local -a trees
    trees=(/var/lib/machines/*(N:t))
    _alternative 'trees:tree:($trees)' 'directories:directory:_directories'
}

_hostel_images() {
    local -a images
    images=(${(f)\"$(hostel images -q 2>/dev/null)\"})
    _describe -t images image images
}

_hostel_kept() {
    local -a kept
    kept=(/var/lib/hostel/machines/*(N:t))
    _describe -t machines machine kept
}

_hostel() {
    local -a verbs
";

pub(super) fn text(words: &[Word]) -> String {
    let mut out = HEAD.to_owned();
    out.push_str("    verbs=(\n");
    for word in words {
        out.push_str(&format!("        {}\n", quoted(&format!("{}:{}", word.name, word.about.replace(':', "\\:")))));
    }
    out.push_str("    )\n    if ((CURRENT == 2)); then _describe -t verbs verb verbs; return; fi\n");
    out.push_str("    local verb=$words[2]\n    ((CURRENT--))\n    shift words\n    case $verb in\n");
    for word in words {
        out.push_str(&format!("    {})\n        _arguments -s -S", word.name));
        for option in &word.options {
            out.push_str(&format!(" \\\n            {}", spec(option)));
        }
        for argument in arguments(word) {
            out.push_str(&format!(" \\\n            {}", quoted(&argument)));
        }
        out.push_str("\n        ;;\n");
    }
    out.push_str("    esac\n}\n\n_hostel \"$@\"\n");
    out
}

/// In single quotes.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// `'(-f --follow)'{-f,--follow}'[help]'`, with `:name:action` for a value.
fn spec(option: &Opt) -> String {
    let help: String = option.help.chars().flat_map(|c| if matches!(c, '[' | ']' | '\\') { vec!['\\', c] } else { vec![c] }).collect();
    let action = |value: &str| {
        let known = alternatives(value);
        let action = match (known.len() > 1, is_path(value)) {
            (true, _) => format!("({})", known.join(" ")),
            (false, true) => "_files".to_owned(),
            (false, false) => String::new(),
        };
        format!("{}:{action}", value.replace(':', "\\:"))
    };
    let (mark, rest) = match &option.value {
        Value::None => ("", String::new()),
        Value::Needed(value) => ("=", format!(":{}", action(value))),
        Value::Maybe(value) => ("=-", format!("::{}", action(value))),
    };
    // A letter takes its value as the next word or joined; a long name after = as well.
    let marked = |flag: &String| match (flag.starts_with("--"), mark) {
        (true, mark) => format!("{flag}{mark}"),
        (false, "=") => format!("{flag}+"),
        (false, "=-") => format!("{flag}-"),
        (false, _) => flag.clone(),
    };
    let flags: Vec<String> = option.flags.iter().map(marked).collect();
    // An option that may be given again is not known as such: all may.
    match &flags[..] {
        [one] => quoted(&format!("*{one}[{help}]{rest}")),
        several => format!("'*'{{{}}}{}", several.join(","), quoted(&format!("[{help}]{rest}"))),
    }
}

fn arguments(word: &Word) -> Vec<String> {
    if word.name == "help" {
        return vec!["1:verb:($verbs)".replace("($verbs)", "{_describe -t verbs verb verbs}")];
    }
    let last = word.then.len();
    let one = |(at, argument): (usize, &Argument)| {
        let place = at + 1;
        match argument {
            Argument::Machine => format!("{place}:machine:_hostel_machines"),
            Argument::Machines => "*:machine:_hostel_machines".to_owned(),
            Argument::Images => "*:image:_hostel_images".to_owned(),
            Argument::Kept => format!("{place}:machine:_hostel_kept"),
            Argument::Tree => format!("{place}:tree:_hostel_trees"),
            Argument::Directory => format!("{place}:directory:_directories"),
            Argument::OneOf(words) => format!("{place}:command line:({})", words.join(" ")),
            Argument::Command if place == last => "*::command:_normal".to_owned(),
            Argument::Command => format!("{place}:command:_command_names"),
        }
    };
    word.then.iter().enumerate().map(one).collect()
}
