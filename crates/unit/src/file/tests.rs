//! Tables of files and what they say, checked by hand against systemd-nspawn 252; and random ones.

use proptest::prelude::*;

use super::*;

/// `LINE [SECTION] KEY=VALUE`, one each, then `LINE! FAULT`.
fn said(bytes: &[u8]) -> Vec<String> {
    let file = match File::parse(bytes) {
        Ok(file) => file,
        Err(error) => return vec![error.to_string()],
    };
    let assignments = file.sections.iter().flat_map(|s| s.assignments.iter().map(move |a| format!("{} [{}] {}={}", a.line, s.name, a.key, a.value)));
    assignments.chain(file.faults.iter().map(|f| format!("{}! {}", f.line, f.why))).collect()
}

#[track_caller]
fn check(text: &str, expected: &[&str]) {
    assert_eq!(said(text.as_bytes()), expected, "{text:?}");
}

#[test]
fn sections_and_keys() {
    check("", &[]);
    check("\n \n\t\n", &[]);
    check("[A]", &[]);
    check("[A]\nk=v", &["2 [A] k=v"]);
    check("  [A]  \n\t k \t=\t v w \t\n", &["2 [A] k=v w"]);
    check("[A]\nk=\nk=a=b\n", &["2 [A] k=", "3 [A] k=a=b"]);
    check("[A]\nk=1\n[B]\nk=2\n[A]\nk=3\n", &["2 [A] k=1", "4 [B] k=2", "6 [A] k=3"]);
    check("[A B-c.d]\nk=[x]\n", &["2 [A B-c.d] k=[x]"]);
    check("[]\nk=v", &["2 [] k=v"]);
    check("[A]\nk='it''s' \"x\n", &["2 [A] k='it''s' \"x"]);
    check("[A]\nä ö=ü", &["2 [A] ä ö=ü"]);
}

#[test]
fn comments_and_continuations() {
    check("# c\n; c\n  # c\n[A]\n#k=1\nk=2 # no comment\n", &["6 [A] k=2 # no comment"]);
    check("[A]\nk=a\\\nb\n", &["2 [A] k=a b"]);
    check("[A]\nk=a \\\n   b\\\n\n", &["2 [A] k=a     b"]);
    check("[A]\nk=a \\\n# c \\\n; d\n  b\nl=2", &["2 [A] k=a    b", "6 [A] l=2"]);
    check("[A]\nk=a\\\\\nl=b", &["2 [A] k=a\\\\", "3 [A] l=b"]);
    check("[A]\nk=a\\\\\\\nb", &["2 [A] k=a\\\\ b"]);
    check("[A]\nk=a\\", &["2 [A] k=a"]);
    check("[A]\nk=a\\\n", &["2 [A] k=a"]);
    check("[A]\nk\\\n=v", &["2 [A] k=v"]);
    check("[A]\\\n", &[]);
    check("# c \\\n[A]\nk=v", &["3 [A] k=v"]);
    check("[A]\n\\\n\\\nk=v\n", &["2 [A] k=v"]);
}

#[test]
fn line_ends_and_marks() {
    check("\u{feff}[A]\nk=v", &["2 [A] k=v"]);
    check("\u{feff}# c\n[A]\nk=v", &["3 [A] k=v"]);
    check("[A]\r\nk=v\r\nl=w", &["2 [A] k=v", "3 [A] l=w"]);
    check("[A]\rk=v\n\rl=w", &["2 [A] k=v", "3 [A] l=w"]);
    check("[A]\n\nk=v\r\r\rl=w", &["3 [A] k=v", "6 [A] l=w"]);
    check("[A]\0k=v\0\0l=w\n\r\0m=x", &["2 [A] k=v", "4 [A] l=w", "5 [A] m=x"]);
    check("[A]\nk=v\\\r\nw", &["2 [A] k=v w"]);
}

#[test]
fn lines_that_say_nothing() {
    check(
        "a=b\nword\n=v\n[A]\nword\n = \nk=v\n",
        &[
            "7 [A] k=v",
            "1! it stands before the first section",
            "2! there is no '=' in it",
            "3! there is no key before the '='",
            "5! there is no '=' in it",
            "6! there is no key before the '='",
        ],
    );
    // bytes that are no text are no matter in a comment
    assert_eq!(said(b"#\xff\n[A]\nk=v"), ["3 [A] k=v"]);
}

#[test]
fn files_that_are_refused() {
    check("[A\nk=v", &["read line 1: the section header \"[A\" does not end in a bracket"]);
    check("\n[A] # c\n", &["read line 2: the section header \"[A] # c\" does not end in a bracket"]);
    check("[A\"]", &["read line 1: the section header \"[A\\\"]\" has a quote, a backslash or a control character in it"]);
    assert_eq!(said(b"[A]\nk=v\nl=\xff\n"), ["read line 3: it is not UTF-8"]);
    assert_eq!(said(b"[A]\nk=\xe2\x80\n"), ["read line 2: it is not UTF-8"]);
    let just = format!("[A]\nk={}\n", "x".repeat(LINE_MAX - 2));
    assert_eq!(File::parse(just.as_bytes()).unwrap().sections[0].assignments[0].value.len(), LINE_MAX - 2);
    let long = [&just.as_bytes()[..just.len() - 1], b"x\nl=w\n"].concat();
    assert_eq!(said(&long), ["read line 2: it is longer than 1 MiB"]);
    let comment = format!("#{}\n[A]\nk=v", "x".repeat(LINE_MAX));
    assert_eq!(said(comment.as_bytes()), ["read line 1: it is longer than 1 MiB"]);
    let joined = format!("[A]\nk={}\\\n{}", "x".repeat(LINE_MAX / 2), "y".repeat(LINE_MAX / 2));
    assert_eq!(said(joined.as_bytes()), ["read line 3: it is longer than 1 MiB"]);
}

#[test]
fn sections_by_name() {
    let file = File::parse(b"[A]\nk=1\n[B]\n[A]\nk=2").unwrap();
    assert_eq!(file.named("A").map(|s| (s.line, s.assignments.len())).collect::<Vec<_>>(), [(1, 1), (4, 1)]);
    assert_eq!(file.named("C").count(), 0);
}

/// Bytes near what a file is made of.
fn near() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(b"[A]\n".to_vec()),
        Just(b"k=v\n".to_vec()),
        Just(b"\\\n".to_vec()),
        Just(b"# c\n".to_vec()),
        "[\\[\\]=#; a\\\\\n\r]{0,8}".prop_map(String::into_bytes),
        prop::collection::vec(any::<u8>(), 0..4),
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn lines_rise_and_text_is_trimmed(bytes in near()) {
        match File::parse(&bytes) {
            Err(error) => prop_assert!(!error.to_string().chars().any(char::is_control)),
            Ok(file) => {
                let lines: Vec<u32> = file.sections.iter().flat_map(|s| std::iter::once(s.line).chain(s.assignments.iter().map(|a| a.line))).collect();
                prop_assert!(lines.is_sorted_by(|a, b| a < b), "{lines:?}");
                for a in file.sections.iter().flat_map(|s| &s.assignments) {
                    prop_assert!(!a.key.is_empty() && a.key.trim_matches(BLANK) == a.key && a.value.trim_matches(BLANK) == a.value);
                    prop_assert!(!a.key.contains('='));
                }
            }
        }
    }

    /// What a file says, written down again, says the same.
    #[test]
    fn written_down_again(bytes in near()) {
        let Ok(file) = File::parse(&bytes) else { return Ok(()) };
        let mut text = String::new();
        for section in &file.sections {
            text += &format!("[{}]\n", section.name);
            for a in &section.assignments {
                // a value ends in one backslash when blanks followed it in the file
                if a.value.bytes().rev().take_while(|b| *b == b'\\').count() % 2 == 0 {
                    text += &format!("{}={}\n", a.key, a.value);
                }
            }
        }
        let plain = |file: &File| -> Vec<(String, String, String)> {
            let kept = |a: &&Assignment| a.value.bytes().rev().take_while(|b| *b == b'\\').count() % 2 == 0;
            file.sections.iter().flat_map(|s| s.assignments.iter().filter(kept).map(|a| (s.name.clone(), a.key.clone(), a.value.clone()))).collect()
        };
        let again = File::parse(text.as_bytes()).unwrap();
        prop_assert_eq!(plain(&again), plain(&file), "{}", text);
    }
}
