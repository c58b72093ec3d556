//! Compressed streams: recognised by their first bytes, never by a name, and made.
//!
//! The decoders run in this process. Archives are from strangers: what a stream asks for in memory is bounded.

use std::io::{self, BufRead, BufReader, Read, Write};

use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

/// How a stream is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Not at all.
    Plain,
    /// gzip(1).
    Gzip,
    /// xz(1).
    Xz,
    /// zstd(1).
    Zstd,
    /// bzip2(1).
    Bzip2,
}

/// Most KiB an xz stream may want: 12 times what `xz -9` needs.
const XZ_MEMORY: u32 = 768 << 10;
/// Largest window of a zstd frame: that of `zstd --ultra -22`.
const ZSTD_WINDOW: u64 = 128 << 20;
/// A zstd frame is made for so much: independent frames, one after the other.
const ZSTD_CHUNK: usize = 4 << 20;
const BUFFER: usize = 128 << 10;

impl Format {
    /// By the first bytes of a stream.
    pub fn of(start: &[u8]) -> Format {
        match start {
            [0x1f, 0x8b, ..] => Format::Gzip,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Format::Xz,
            // The last one of these begins what a decoder skips, which may come first.
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Format::Zstd,
            [b'B', b'Z', b'h', b'1'..=b'9', ..] => Format::Bzip2,
            _ => Format::Plain,
        }
    }

    /// As a file to be made is named.
    pub fn of_name(name: &str) -> Format {
        let ends = |all: &[&str]| all.iter().any(|e| name.ends_with(e));
        if ends(&[".gz", ".tgz"]) {
            Format::Gzip
        } else if ends(&[".xz", ".txz"]) {
            Format::Xz
        } else if ends(&[".zst", ".zstd", ".tzst"]) {
            Format::Zstd
        } else if ends(&[".bz2", ".tbz2", ".tbz"]) {
            Format::Bzip2
        } else {
            Format::Plain
        }
    }

    /// By its word: `uncompressed`, `gzip`, `xz`, `zstd`, `bzip2`.
    pub fn of_word(word: &str) -> Option<Format> {
        Some(match word {
            "uncompressed" => Format::Plain,
            "gzip" => Format::Gzip,
            "xz" => Format::Xz,
            "zstd" => Format::Zstd,
            "bzip2" => Format::Bzip2,
            _ => return None,
        })
    }
}

/// What is in the stream `input`, decompressed if it is compressed, and how it was.
pub fn reader<'a>(input: impl Read + 'a) -> io::Result<(Format, Box<dyn Read + 'a>)> {
    boxed(Box::new(input))
}

/// For whatever input: each type of one would have decompressors of its own.
fn boxed<'a>(input: Box<dyn Read + 'a>) -> io::Result<(Format, Box<dyn Read + 'a>)> {
    let mut input = BufReader::with_capacity(BUFFER, input);
    // A pipe may give its first bytes one by one.
    let mut start = Vec::with_capacity(8);
    input.by_ref().take(6).read_to_end(&mut start)?;
    let format = Format::of(&start);
    let input = BufReader::with_capacity(BUFFER, io::Cursor::new(start).chain(input));
    Ok((
        format,
        match format {
            Format::Plain => Box::new(input),
            Format::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(input)),
            Format::Xz => Box::new(lzma_rust2::XzReader::new_mem_limit(input, true, XZ_MEMORY)),
            Format::Zstd => Box::new(Zstd::new(input)),
            Format::Bzip2 => Box::new(bzip2::bufread::MultiBzDecoder::new(input)),
        },
    ))
}

/// The frames of a zstd stream, one after the other, each checked by its sum.
struct Zstd<R: BufRead> {
    input: R,
    frame: FrameDecoder,
    within: bool,
}

impl<R: BufRead> Zstd<R> {
    fn new(input: R) -> Self {
        let mut frame = FrameDecoder::new();
        frame.set_max_window_size(ZSTD_WINDOW);
        Zstd { input, frame, within: false }
    }

    /// Begins the next frame; `false` at the end of the stream.
    fn begin(&mut self) -> io::Result<bool> {
        loop {
            if self.input.fill_buf()?.is_empty() {
                return Ok(false);
            }
            match self.frame.reset(&mut self.input) {
                Ok(()) => return Ok(true),
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame { length, .. })) => {
                    let skipped = io::copy(&mut self.input.by_ref().take(u64::from(length)), &mut io::sink())?;
                    if skipped < u64::from(length) {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                }
                Err(e) => return Err(io::Error::new(io::ErrorKind::InvalidData, e.to_string())),
            }
        }
    }
}

impl<R: BufRead> Read for Zstd<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if !self.within && !self.begin()? {
                return Ok(0);
            }
            self.within = true;
            if self.frame.can_collect() == 0 && !self.frame.is_finished() {
                let some = BlockDecodingStrategy::UptoBytes(BUFFER);
                self.frame.decode_blocks(&mut self.input, some).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e.to_string()))?;
            }
            let n = self.frame.read(buffer)?;
            if n > 0 {
                return Ok(n);
            }
            if self.frame.is_finished() && self.frame.can_collect() == 0 {
                let sums = (self.frame.get_checksum_from_data(), self.frame.get_calculated_checksum());
                if let (Some(said), Some(is)) = sums
                    && said != is
                {
                    return Err(io::Error::new(io::ErrorKind::InvalidData, "the checksum is wrong"));
                }
                self.within = false;
            }
        }
    }
}

/// A stream to write to; [`Writer::finish`] ends it.
pub enum Writer<W: Write> {
    /// As it is.
    Plain(W),
    /// gzip.
    Gzip(flate2::write::GzEncoder<W>),
    /// xz.
    Xz(Box<lzma_rust2::XzWriter<W>>),
    /// zstd: what waits for its frame.
    Zstd(Vec<u8>, W),
    /// bzip2.
    Bzip2(bzip2::write::BzEncoder<W>),
}

impl<W: Write> Writer<W> {
    /// A stream of a format on `output`.
    pub fn new(format: Format, output: W) -> io::Result<Self> {
        Ok(match format {
            Format::Plain => Writer::Plain(output),
            Format::Gzip => Writer::Gzip(flate2::write::GzEncoder::new(output, flate2::Compression::default())),
            Format::Xz => Writer::Xz(Box::new(lzma_rust2::XzWriter::new(output, lzma_rust2::XzOptions::with_preset(3))?)),
            Format::Zstd => Writer::Zstd(Vec::with_capacity(ZSTD_CHUNK), output),
            Format::Bzip2 => Writer::Bzip2(bzip2::write::BzEncoder::new(output, bzip2::Compression::default())),
        })
    }

    /// Writes what is held back and the end of the stream.
    pub fn finish(self) -> io::Result<W> {
        match self {
            Writer::Plain(output) => Ok(output),
            Writer::Gzip(encoder) => encoder.finish(),
            Writer::Xz(encoder) => encoder.finish(),
            Writer::Zstd(rest, mut output) => {
                output.write_all(&zstd_frame(&rest))?;
                Ok(output)
            }
            Writer::Bzip2(encoder) => encoder.finish(),
        }
    }
}

fn zstd_frame(bytes: &[u8]) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest)
}

impl<W: Write> Write for Writer<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Writer::Plain(output) => output.write(bytes),
            Writer::Gzip(encoder) => encoder.write(bytes),
            Writer::Xz(encoder) => encoder.write(bytes),
            Writer::Zstd(waiting, output) => {
                let n = bytes.len().min(ZSTD_CHUNK - waiting.len());
                waiting.extend_from_slice(&bytes[..n]);
                if waiting.len() == ZSTD_CHUNK {
                    output.write_all(&zstd_frame(waiting))?;
                    waiting.clear();
                }
                Ok(n)
            }
            Writer::Bzip2(encoder) => encoder.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Writer::Plain(output) | Writer::Zstd(_, output) => output.flush(),
            Writer::Gzip(encoder) => encoder.flush(),
            Writer::Xz(encoder) => encoder.flush(),
            Writer::Bzip2(encoder) => encoder.flush(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(n: usize) -> Vec<u8> {
        let mut state = 7u64;
        (0..n)
            .map(|i| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                if i % 3 == 0 { (state >> 40) as u8 } else { b'a' }
            })
            .collect()
    }

    const ALL: [Format; 5] = [Format::Plain, Format::Gzip, Format::Xz, Format::Zstd, Format::Bzip2];

    #[test]
    fn there_and_back() {
        for size in [0, 1, 700, 200_000, ZSTD_CHUNK, ZSTD_CHUNK + 12345] {
            let original = noise(size);
            for format in ALL {
                // The others have no such border.
                if size >= ZSTD_CHUNK && format != Format::Zstd {
                    continue;
                }
                let mut writer = Writer::new(format, Vec::new()).unwrap();
                writer.write_all(&original).unwrap();
                let packed = writer.finish().unwrap();
                for twice in [false, true] {
                    let stream = if twice { packed.repeat(2) } else { packed.clone() };
                    let mut unpacked = Vec::new();
                    let (found, mut reader) = reader(&stream[..]).unwrap();
                    reader.read_to_end(&mut unpacked).unwrap();
                    assert!(found == format || size == 0, "{format:?}");
                    assert!(unpacked == if twice { original.repeat(2) } else { original.clone() }, "{format:?} {size} {twice}");
                }
            }
        }
    }

    #[test]
    fn damage_and_cuts_are_errors() {
        let original = noise(300_000);
        for format in &ALL[1..] {
            let mut writer = Writer::new(*format, Vec::new()).unwrap();
            writer.write_all(&original).unwrap();
            let packed = writer.finish().unwrap();
            let read = |bytes: &[u8]| reader(bytes).and_then(|(_, mut r)| io::copy(&mut r, &mut io::sink()));
            for cut in [7, 100, packed.len() / 2, packed.len() - 1] {
                assert!(read(&packed[..cut]).is_err(), "{format:?} cut at {cut}");
            }
            for at in [packed.len() / 2, packed.len() / 3] {
                let mut damaged = packed.clone();
                damaged[at] ^= 0x55;
                assert!(read(&damaged).is_err(), "{format:?} damaged at {at}");
            }
        }
    }
}
