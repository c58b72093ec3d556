//! Command lines of `Exec…=`: prefixes, quoting, `;` between commands (systemd.service(5), "COMMAND LINES").

use hostel_unit::{WordRules, words};

/// One command.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Command {
    /// `-`: that it fails is no failure.
    pub ignore_failure: bool,
    /// `@`: the first argument is argv[0].
    pub own_name: bool,
    /// `:`: variables are not replaced.
    pub literal: bool,
    /// `+`: with all privileges.
    pub full_privileges: bool,
    /// `!` or `!!`: keeps the user's privileges to change them itself, always or where ambient capabilities are missing.
    pub elevated: u8,
    /// `|`: by a shell.
    pub shell: bool,
    /// The program: absolute, or a plain name that is searched for.
    pub program: String,
    /// argv from argv[0] on.
    pub argv: Vec<String>,
}

/// Parses a value into its commands; several have a lone `;` between them.
pub fn parse(value: &str) -> Result<Vec<Command>, String> {
    let all = split(value)?;
    let mut commands = Vec::new();
    for part in all.split(|word| word == ";") {
        // `;` at the end, or twice
        if part.is_empty() {
            continue;
        }
        commands.push(command(part)?);
    }
    if commands.is_empty() { Err("there is no command".to_owned()) } else { Ok(commands) }
}

/// Words; an escaped `\;` is a literal semicolon.
fn split(value: &str) -> Result<Vec<String>, String> {
    const STAND_IN: &str = "\u{f8ff}";
    if value.contains(STAND_IN) {
        return words(value, WordRules::UNIT).map_err(|e| e.why.to_owned());
    }
    let mut text = value.to_owned();
    for (from, to) in [(" \\; ", " \u{f8ff} "), ("\t\\; ", "\t\u{f8ff} ")] {
        text = text.replace(from, to);
    }
    if let Some(start) = text.strip_suffix(" \\;") {
        text = format!("{start} {STAND_IN}");
    }
    // what is no escape stays as it is, as systemd's command lines do
    let list = words(&text, WordRules::UNIT).or_else(|_| words(&relaxed(&text), WordRules::UNIT)).map_err(|e| e.why.to_owned())?;
    // only a bare semicolon separates: quoted ones are arguments, and are rare enough to be told apart by the text
    Ok(list.into_iter().map(|word| if word == STAND_IN { "\\;".to_owned() } else { word }).collect())
}

/// Doubles every backslash that begins no escape.
fn relaxed(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        out.push(c);
        if c == '\\' {
            match chars.peek() {
                Some('\\' | '"' | '\'' | 'a' | 'b' | 'f' | 'n' | 'r' | 't' | 'v' | 's' | 'x' | 'u' | 'U' | '0'..='7') => {
                    if let Some(next) = chars.next() {
                        out.push(next);
                    }
                }
                _ => out.push('\\'),
            }
        }
    }
    out
}

fn command(words: &[String]) -> Result<Command, String> {
    let mut command = Command::default();
    let mut program = words[0].as_str();
    loop {
        let (flag, rest) = match program.chars().next() {
            Some(c) if "-@:+!|".contains(c) => (c, &program[1..]),
            _ => break,
        };
        match flag {
            '-' if !command.ignore_failure => command.ignore_failure = true,
            '@' if !command.own_name => command.own_name = true,
            ':' if !command.literal => command.literal = true,
            '+' if !command.full_privileges && command.elevated == 0 => command.full_privileges = true,
            '!' if !command.full_privileges && command.elevated < 2 => command.elevated += 1,
            '|' if !command.shell => command.shell = true,
            _ => return Err(format!("the prefix {flag:?} does not go with those before it")),
        }
        program = rest;
    }
    if program.is_empty() {
        return Err("there is no program after the prefixes".to_owned());
    }
    if program.ends_with('/') {
        return Err(format!("{program:?} is a directory"));
    }
    if !program.starts_with('/') && program.contains('/') {
        return Err(format!("{program:?} is neither absolute nor a plain name"));
    }
    command.program = program.to_owned();
    let rest = words[1..].iter().map(|word| if word == "\\;" { ";".to_owned() } else { word.clone() });
    command.argv = if command.own_name {
        let argv: Vec<String> = rest.collect();
        if argv.is_empty() {
            return Err("after the prefix @ a name for argv[0] is missing".to_owned());
        }
        argv
    } else {
        std::iter::once(program.to_owned()).chain(rest).collect()
    };
    Ok(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands() {
        let one = |text: &str| parse(text).unwrap().remove(0);
        assert_eq!(one("/bin/a b 'c d'").argv, ["/bin/a", "b", "c d"]);
        let c = one("-@/bin/a name x");
        assert!(c.ignore_failure && c.own_name);
        assert_eq!((c.program.as_str(), c.argv), ("/bin/a", vec!["name".to_owned(), "x".into()]));
        assert_eq!(one("!!/bin/a").elevated, 2);
        assert_eq!(
            parse("/bin/a x ; /bin/b \\; c ;").unwrap().iter().map(|c| c.argv.clone()).collect::<Vec<_>>(),
            [vec!["/bin/a", "x"], vec!["/bin/b", ";", "c"]]
        );
        // what is no escape stays
        assert_eq!(one(r"/bin/sed s/\./x/").argv[1], r"s/\./x/");
        for bad in ["", ";", "-", "--/bin/a", "+!/bin/a", "@/bin/a", "a/b", "/bin/", "/bin/a \"x"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
