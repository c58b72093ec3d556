//! What the documents name is there: files they link to, and the tests and sources they point at.

use std::path::Path;

use super::{Outcome, source};

const DOCUMENTS: [&str; 7] =
    ["README.md", "ARCHITECTURE.md", "SECURITY.md", "CONTRIBUTING.md", "CHANGELOG.md", "BENCHMARKS.md", "docs/compatibility.md"];

/// Every relative link of the documents leads somewhere; every `topic::test` they name exists in `tests/tests/topic.rs`.
pub(crate) fn check() -> Outcome {
    let mut faults = Vec::new();
    let (mut links, mut tests) = (0, 0);
    for document in DOCUMENTS {
        let text = match source::read(Path::new(document)) {
            Ok(text) => text,
            Err(missing) => {
                faults.extend(missing);
                continue;
            }
        };
        for target in link_targets(&text) {
            links += 1;
            if !super::root().join(Path::new(document)).with_file_name(target).exists() {
                faults.push(format!("{document}: links to {target}, which is not there"));
            }
        }
        for (topic, name) in named_tests(&text) {
            let Ok(file) = source::read(&Path::new("tests/tests").join(format!("{topic}.rs"))) else { continue };
            tests += 1;
            let prefix = name.trim_end_matches('*');
            let said = [format!("fn {prefix}"), format!("    {prefix}")];
            if !said.iter().any(|said| file.contains(said.as_str())) {
                faults.push(format!("{document}: names test {topic}::{name}, which is not there"));
            }
        }
    }
    if faults.is_empty() { Ok(format!("{links} links and {tests} tests named in documents are there")) } else { Err(faults) }
}

/// Targets of `[text](target)` that are files here.
fn link_targets(text: &str) -> impl Iterator<Item = &str> {
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target.split('#').next().unwrap_or(target));
    targets.filter(|target| !target.is_empty() && !target.contains("://"))
}

/// `` `topic::name` ``, as tests are named; a `*` at the end stands for the rest.
fn named_tests(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let simple = |part: &str| part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'*'));
    text.lines()
        .flat_map(|line| line.split('`').skip(1).step_by(2))
        .filter_map(|code| code.split_once("::"))
        .filter(move |(a, b)| simple(a) && simple(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_named() {
        let text = "see [a](A.md#x), [b](https://b) and `faults::killed_at_every_*`\n`hostel_process::become` `std::fs::x` `a::B`";
        assert_eq!(link_targets(text).collect::<Vec<_>>(), ["A.md"]);
        assert_eq!(named_tests(text).collect::<Vec<_>>(), [("faults", "killed_at_every_*"), ("hostel_process", "become")]);
    }
}
