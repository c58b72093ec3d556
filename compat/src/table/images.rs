//! Disk images as trees. The original wants an udev; the one that it gets does nothing.

use crate::scenario::Scenario;

/// The tree as an ext4 in `$D/fs`.
macro_rules! file_system {
    ($($more:tt)*) => {
        concat!("echo 0123456789abcdef0123456789abcdef >$T/etc/machine-id; truncate -s 24M $D/fs; mkfs.ext4 -q -d $T $D/fs; ", $($more)*)
    };
}
/// `$D/fs` in a partition of a table on `$D/disk`; what sfdisk is to say of it.
macro_rules! disk {
    ($label:literal, $part:literal) => {
        file_system!(
            "truncate -s 27M $D/disk; printf 'label: ",
            $label,
            "\\nstart=1MiB, size=24MiB, ",
            $part,
            "\\n' | sfdisk -q $D/disk; dd if=$D/fs of=$D/disk bs=1M seek=1 conv=notrunc status=none; rm $D/fs"
        )
    };
}

/// Whether it can be written, its name, what is in it.
const LOOK: &str = "touch /made && echo wrote; hostname | sed s/-[0-9a-f]*$/-random/; ls / | wc -w; exit 4";

pub(super) fn rows() -> Vec<Scenario> {
    let image = |name, options: &[&'static str], before| {
        let mut words = vec!["-q", "--register=no", "--keep-unit"];
        words.extend(options);
        words.extend(["sh", "-c", LOOK]);
        Scenario::new(name, &words).bare().udev().before(before)
    };
    vec![
        image("image-file-system", &["--image={dir}/fs"], file_system!("")),
        image("image-read-only", &["-i", "{dir}/fs", "--read-only"], file_system!("")),
        image("image-read-only-file", &["-i", "{dir}/fs"], file_system!("chmod 444 $D/fs")),
        image("image-ephemeral", &["-x", "-i", "{dir}/fs"], file_system!("")),
        image("image-volatile", &["--volatile=overlay", "-i", "{dir}/fs"], file_system!("")),
        image("image-users", &["-U", "-i", "{dir}/fs"], file_system!("")),
        image("image-machine", &["-M", "given-image", "-i", "{dir}/fs"], file_system!("")),
        image("image-root-partition", &["-i", "{dir}/disk"], disk!("gpt", "type=4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709")),
        image("image-linux-partition", &["-i", "{dir}/disk"], disk!("gpt", "type=0FC63DAF-8483-4772-8E79-3D69D8477DE4")),
        image("image-mbr", &["-i", "{dir}/disk"], disk!("dos", "type=83, bootable")),
        image("image-no-root", &["-i", "{dir}/disk"], disk!("gpt", "type=0657FD6D-A4AB-43C4-84E5-0933C84B4F4F")),
        image("image-empty", &["-i", "{dir}/fs"], "truncate -s 4M $D/fs"),
        image("image-missing", &["-i", "{dir}/none"], ""),
        image("image-directory", &["-i", "{tree}"], ""),
        image("image-and-directory", &["-i", "{dir}/fs", "-D", "{tree}"], file_system!("")),
        image("image-and-template", &["-i", "{dir}/fs", "--template={tree}"], file_system!("")),
        image("root-hash-bad", &["-i", "{dir}/fs", "--root-hash=xyz"], file_system!("")),
        image("root-hash-short", &["-i", "{dir}/fs", "--root-hash=0011"], file_system!("")),
        image("root-hash-without-verity", &["-i", "{dir}/fs", "--root-hash=00112233445566778899aabbccddeeff"], file_system!("")),
        image(
            "verity-data-missing",
            &["-i", "{dir}/fs", "--root-hash=00112233445566778899aabbccddeeff", "--verity-data={dir}/none"],
            file_system!(""),
        ),
        image("root-hash-sig-bad", &["-i", "{dir}/fs", "--root-hash-sig=base64:!"], file_system!("")),
        Scenario::new("image-without-udev", &["-q", "--register=no", "--keep-unit", "-i", "{dir}/fs", "/probe", "exit", "4"])
            .bare()
            .before(file_system!("")),
    ]
}
