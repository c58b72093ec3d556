# Sourced: sets TARGET, the triple of a static build, and RUSTFLAGS where it needs any.
# musl when rustup has or can get it, else glibc linked statically (0.5 ms slower to start in a VM, 1 MB larger).
[ -n "${HOME:-}" ] && [ -d "$HOME/.cargo/bin" ] && PATH=$PATH:$HOME/.cargo/bin
command -v cargo >/dev/null || { echo "find cargo: not in PATH; install Rust from https://rustup.rs" >&2; exit 1; }
ARCH=$(uname -m)
TARGET=$ARCH-unknown-linux-musl
if [ ! -d "$(rustc --print sysroot)/lib/rustlib/$TARGET/lib" ]; then
  if command -v rustup >/dev/null && rustup target add "$TARGET" >&2; then :; else
    echo "no Rust target $TARGET here: building with static glibc instead" >&2
    TARGET=$ARCH-unknown-linux-gnu
    export RUSTFLAGS="${RUSTFLAGS:-} -C target-feature=+crt-static"
  fi
fi
export TARGET
