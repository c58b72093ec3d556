//! Completions for bash: one function, one `case` arm for each verb.

use super::{Argument, Opt, Value, Word, alternatives, is_path};

const HEAD: &str = "\
# bash completion for hostel, made by `hostel generate completions bash`: do not edit

_hostel() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} verb=${COMP_WORDS[1]}
    local flags= values= paths= then= words= at word=0
    COMPREPLY=()
";

const TAIL: &str = "\
    # --option=value comes as three words.
    if [[ $prev == = ]]; then prev=${COMP_WORDS[COMP_CWORD-2]}; fi
    if [[ $cur == = ]]; then prev=${COMP_WORDS[COMP_CWORD-1]} cur=; fi
    for ((at = 2; at < COMP_CWORD; at++)); do
        case ${COMP_WORDS[at]} in
        --) word=99 ;;
        -*) ;;
        *) case \" $values $paths \" in *\" ${COMP_WORDS[at-1]} \"*) ;; *) ((word++)) ;; esac ;;
        esac
    done
    case $prev in
    -*) case \" $paths \" in *\" $prev \"*) compopt -o filenames; COMPREPLY=($(compgen -f -- \"$cur\")); return ;; esac
        _hostel_value && return
        case \" $values \" in *\" $prev \"*) return ;; esac ;;
    esac
    if [[ $cur == -* && $word != 99 ]]; then
        COMPREPLY=($(compgen -W \"$flags\" -- \"$cur\"))
        [[ ${COMPREPLY[0]-} == *= ]] && compopt -o nospace
        return
    fi
    set -- $then
    if ((word > 0 && $# > 1)); then shift; fi
    case ${1-} in
    machine) if ((word == 0)); then COMPREPLY=($(compgen -W \"$(hostel ps -q 2>/dev/null)\" -- \"$cur\")); fi ;;
    machines) COMPREPLY=($(compgen -W \"$(hostel ps -q 2>/dev/null)\" -- \"$cur\")) ;;
    images) COMPREPLY=($(compgen -W \"$(hostel images -q 2>/dev/null)\" -- \"$cur\")) ;;
    kept) if ((word == 0)); then COMPREPLY=($(compgen -W \"$(command ls /var/lib/hostel/machines 2>/dev/null)\" -- \"$cur\")); fi ;;
    tree) COMPREPLY=($(compgen -W \"$(command ls /var/lib/machines 2>/dev/null)\" -- \"$cur\")); compopt -o filenames; COMPREPLY+=($(compgen -d -- \"$cur\")) ;;
    directory) compopt -o filenames; COMPREPLY=($(compgen -d -- \"$cur\")) ;;
    words) COMPREPLY=($(compgen -W \"$words\" -- \"$cur\")) ;;
    command) compopt -o filenames; COMPREPLY=($(compgen -c -- \"$cur\") $(compgen -f -- \"$cur\")) ;;
    esac
}
complete -F _hostel hostel
";

pub(super) fn text(words: &[Word]) -> String {
    let mut out = HEAD.to_owned();
    let names: Vec<&str> = words.iter().map(|w| w.name).collect();
    out.push_str(&format!("    local verbs=\"{}\"\n", names.join(" ")));
    out.push_str("    if ((COMP_CWORD == 1)); then COMPREPLY=($(compgen -W \"$verbs\" -- \"$cur\")); return; fi\n");
    out.push_str("    case $verb in\n");
    for word in words {
        out.push_str(&format!("    {})\n", word.name));
        line(&mut out, "flags", &word.options.iter().flat_map(offered).collect::<Vec<_>>());
        let with_value = |wanted: fn(&str) -> bool| {
            let takes = word.options.iter().filter(move |o| matches!(&o.value, Value::Needed(v) if wanted(v)));
            takes.flat_map(|o| o.flags.clone()).collect::<Vec<_>>()
        };
        line(&mut out, "values", &with_value(|v| !is_path(v)));
        line(&mut out, "paths", &with_value(is_path));
        arguments(&mut out, word);
        out.push_str("        ;;\n");
    }
    out.push_str("    esac\n");
    out.push_str(TAIL);
    out.push('\n');
    out.push_str(&values(words));
    out
}

fn line(out: &mut String, name: &str, words: &[String]) {
    if !words.is_empty() {
        out.push_str(&format!("        {name}=\"{}\"\n", words.join(" ")));
    }
}

/// Long names only when there is one: that is what somebody who asks does not know.
fn offered(option: &Opt) -> Vec<String> {
    let long: Vec<String> = option.flags.iter().filter(|f| f.starts_with("--")).cloned().collect();
    if long.is_empty() { option.flags.clone() } else { long }
}

fn arguments(out: &mut String, word: &Word) {
    if word.name == "help" {
        out.push_str("        then=words words=$verbs\n");
        return;
    }
    let mut kinds = Vec::new();
    for argument in &word.then {
        kinds.push(match argument {
            Argument::Machine => "machine",
            Argument::Machines => "machines",
            Argument::Kept => "kept",
            Argument::Images => "images",
            Argument::Tree => "tree",
            Argument::Directory => "directory",
            Argument::Command => "command",
            Argument::OneOf(words) => {
                out.push_str(&format!("        words=\"{}\"\n", words.join(" ")));
                "words"
            }
        });
    }
    if !kinds.is_empty() {
        out.push_str(&format!("        then=\"{}\"\n", kinds.join(" ")));
    }
}

/// The function that knows values: `--net` takes host, private or veth.
fn values(words: &[Word]) -> String {
    let mut out = String::from("_hostel_value() {\n    case $verb$prev in\n");
    for word in words {
        for option in &word.options {
            let Value::Needed(value) = &option.value else { continue };
            let known = alternatives(value);
            if known.len() > 1 {
                let keys: Vec<String> = option.flags.iter().map(|f| format!("{}{f}", word.name)).collect();
                out.push_str(&format!("    {}) COMPREPLY=($(compgen -W \"{}\" -- \"$cur\")) ;;\n", keys.join("|"), known.join(" ")));
            }
        }
    }
    out.push_str("    *) return 1 ;;\n    esac\n}\n");
    out
}
