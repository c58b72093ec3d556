//! Whole machines of command lines people really use (spec/nspawn.md section 4), and of the bare one.

use super::*;

fn json(words: &[&str]) -> String {
    serde_json::to_string_pretty(&spec(words)).unwrap()
}

#[test]
fn bare() {
    insta::assert_snapshot!("bare", json(&[]));
}

#[test]
fn boot_with_users_and_cable() {
    insta::assert_snapshot!("boot", json(&["-bUnD", "debian", "-M", "web", "--memory=512M", "--cpus=1.5", "--property=TasksMax=100"]));
}

/// mock(1), Fedora's build tool, without --suppress-sync=yes.
#[test]
fn mock() {
    insta::assert_snapshot!(
        "mock",
        json(&[
            "-q",
            "-M",
            "0123abc",
            "-D",
            "/var/lib/mock/f/root",
            "-a",
            "-u",
            "mockbuild",
            "--capability=cap_ipc_lock",
            "--bind=/tmp/mock-resolv.x:/etc/resolv.conf",
            "--rlimit=RLIMIT_NOFILE=10240",
            "--setenv=TERM=vt100",
            "--setenv=SHELL=/bin/bash",
            "--console=pipe",
            "bash",
            "--login",
            "-c",
            "rpmbuild -bb x.spec",
        ])
    );
}

/// containers of NixOS.
#[test]
fn nixos() {
    insta::assert_snapshot!(
        "nixos",
        json(&[
            "--keep-unit",
            "-M",
            "db",
            "-D",
            "/var/lib/nixos-containers/db",
            "--notify-ready=yes",
            "--kill-signal=SIGRTMIN+3",
            "--bind-ro=/nix/store",
            "--bind-ro=/nix/var/nix/db",
            "--bind=/nix/var/nix/profiles/per-container/db:/nix/var/nix/profiles:idmap",
            "--link-journal=try-guest",
            "--private-network",
            "--network-veth",
            "--private-users=pick",
            "--setenv=PRIVATE_NETWORK=1",
            "--tmpfs=/var/cache:size=1G",
            "/nix/x/init",
        ])
    );
}

/// Arch's devtools.
#[test]
fn arch() {
    insta::assert_snapshot!(
        "arch",
        json(&[
            "--register=no",
            "--keep-unit",
            "--as-pid2",
            "--console=pipe",
            "--timezone=off",
            "--tmpfs=/tmp",
            "--bind-ro=/var/cache/pacman/pkg",
            "-D",
            "/var/lib/archbuild/root",
            "pacman",
            "-Syu",
        ])
    );
}

/// A kiosk's sandbox.
#[test]
fn sandbox() {
    insta::assert_snapshot!(
        "sandbox",
        json(&[
            "-D",
            "/srv/kiosk",
            "--volatile=overlay",
            "--private-users=1000000:65536",
            "--private-users-ownership=off",
            "--drop-capability=cap_mknod,cap_sys_admin",
            "--no-new-privileges=yes",
            "--system-call-filter=~@mount",
            "--overlay=/a:/b:/c",
            "--inaccessible=/boot",
            "--cpu-affinity=0-1",
            "--property=DeviceAllow=/dev/dri/card0 rw",
            "--ambient-capability=cap_sys_nice",
            "-u",
            "1000",
            "firefox",
        ])
    );
}
