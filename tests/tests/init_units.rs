//! Units of hostel's own init beyond plain services: users that come and go, mounts, slices, and what outlives a manager.

use hostel_tests::Bed;
use hostel_tests::init::result;

fn has_lines(text: &str, wanted: &[&str]) {
    for line in wanted {
        assert!(text.lines().any(|found| found == *line), "{line:?} in\n{text}");
    }
}

#[test]
fn dynamic_users_are_there_while_the_service_runs() {
    let Some(bed) = Bed::start() else { return };
    let see = "id -u; id -g; echo state=$STATE_DIRECTORY user=$USER; touch $STATE_DIRECTORY/file && echo wrote; touch /etc/x || echo ro; \
               stat -c %%u:%%g:%%a $STATE_DIRECTORY/. ; grep NoNewPrivs /proc/self/status; ls /var/lib/private";
    let unit = |more: &str| {
        format!("[Service]\nType=oneshot\nDynamicUser=yes\n{more}ExecStart=/bin/sh -c '{see}'\nStandardOutput=file:/run/%p\nStandardError=inherit\n")
    };
    let (one, two) = (unit("StateDirectory=kept/deep\n"), unit("User=named\nStateDirectory=other\nRuntimeDirectory=rt\n"));
    let units = [
        ("one.service", one.as_str()),
        ("two.service", &two),
        ("fixed.service", "[Service]\nType=oneshot\nDynamicUser=yes\nUser=nobody\nExecStart=/bin/sh -c 'id -u'\nStandardOutput=file:/run/%p\n"),
        ("plain.service", "[Service]\nType=oneshot\nUser=nobody\nStateDirectory=kept/deep\nExecStart=/bin/sh -c 'stat -c %%u:%%F /var/lib/kept/deep'\nStandardOutput=file:/run/%p\n"),
    ];
    let text = result(
        &bed,
        &units,
        "mkdir -p /var/lib/kept/deep /var/lib/private/secret; chmod 700 /var/lib/private; echo old > /var/lib/kept/deep/old\n\
         sed 's/^/passwd /' /etc/passwd | wc -l; for u in one one two fixed; do systemctl start $u; echo $u rc=$?; done; wc -l < /etc/passwd\n\
         sed 's/^/one /' /run/one; sed 's/^/two /' /run/two; sed 's/^/fixed /' /run/fixed; systemctl why one\n\
         stat -c '%u %a %n' /var/lib/private/kept/deep/file /var/lib/private; cat /var/lib/kept/deep/old; readlink /var/lib/kept/deep\n\
         systemctl start plain; cat /run/plain; cat /var/lib/kept/deep/old",
    );
    has_lines(&text, &["one rc=0", "two rc=0", "fixed rc=0", "one wrote", "one ro", "one state=/var/lib/kept/deep user=one", "one NoNewPrivs:\t1"]);
    has_lines(&text, &["one kept", "two wrote", "two other", "fixed 65534", "old", "../private/kept/deep", "65534:directory", "0 700 /var/lib/private"]);
    assert!(!text.contains("secret"), "it is hidden\n{text}");
    let uid = |unit: &str| text.lines().find_map(|line| line.strip_prefix(unit)?.trim().parse::<u32>().ok()).unwrap();
    assert!((61184..=65519).contains(&uid("one ")) && (61184..=65519).contains(&uid("two ")) && uid("one ") != uid("two "), "{text}");
    assert!(text.contains(&format!("{} 644 /var/lib/private/kept/deep/file", uid("one "))), "{text}");
}
