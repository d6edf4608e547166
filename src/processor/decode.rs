//! From the bytes of a file to an upright RGB picture.
//!
//! Every file that is not a readable photo ends as [`Error::Photo`] with the reason in plain words, whatever
//! is wrong with it: the photos of a lifetime hold broken ones, and one must not stop a build.
//!
//! Colours become RGB as in Pillow's `convert("RGB")`: transparency is dropped rather than blended, gray is
//! repeated. Where Pillow clips 16-bit gray to 255, this scales 16 bits to 8.

use std::fs::{File, Metadata};
use std::io::{Cursor, ErrorKind, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use image::metadata::Orientation;
use image::{
    ColorType, DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits, RgbImage,
};

use super::container::Container;
use super::heif;
use super::jpeg::{self, JpegPicture, Layout};
use super::metadata::EmbeddedMetadata;
use crate::error::{Error, Result};
use crate::photo::{ContentHash, Photo, PhotoMetadata};

/// Larger files are not read.
const MAX_FILE_BYTES: u64 = 512 << 20;

/// Pictures with more pixels are not decoded: phones make 200 million, decompression bombs billions.
const MAX_PIXELS: u64 = 1 << 28;

/// What reading a header may allocate.
const MAX_HEADER_BYTES: u64 = 64 << 20;

/// Whether a file's name says that it is a picture. Its content decides later which format it has.
pub fn is_photo(path: &Path) -> bool {
    const EXTENSIONS: [&str; 17] = [
        "jpg", "jpeg", "jpe", "jfif", "mpo", "png", "apng", "webp", "gif", "tif", "tiff", "bmp",
        "dib", "avif", "heic", "heif", "hif",
    ];
    let extension = path.extension().and_then(|extension| extension.to_str());
    extension.is_some_and(|e| EXTENSIONS.iter().any(|known| e.eq_ignore_ascii_case(known)))
}

/// The bytes of an image file.
#[derive(Debug, Clone)]
pub struct Encoded {
    bytes: Vec<u8>,
}

/// A decoded photo.
#[derive(Debug, Clone)]
pub struct DecodedPhoto {
    /// The upright picture.
    pub rgb: RgbImage,
    /// Its size, and what its metadata says.
    pub metadata: PhotoMetadata,
}

impl Encoded {
    /// Takes the bytes of a file of any format; names lie, so the content tells which.
    pub fn new(bytes: Vec<u8>) -> Result<Self> {
        refuse_large_file(bytes.len() as u64)?;
        Ok(Self { bytes })
    }

    /// Reads a file.
    pub fn read(path: &Path) -> Result<Self> {
        let file = open(path)?;
        refuse_large_file(file.metadata().map_err(Error::io(path))?.len())?;
        let mut bytes = Vec::new();
        // A file may grow between the two looks at it.
        file.take(MAX_FILE_BYTES + 1)
            .read_to_end(&mut bytes)
            .map_err(Error::io(path))?;
        Self::new(bytes)
    }

    /// Reads the file of an indexed photo; [`Error::Changed`] if it holds something else by now.
    pub fn of(photo: &Photo) -> Result<Self> {
        let encoded = Self::read(&photo.path)?;
        if encoded.content_hash() == photo.content_hash {
            Ok(encoded)
        } else {
            Err(Error::Changed {
                path: photo.path.clone(),
            })
        }
    }

    /// BLAKE3 of the file's bytes.
    pub fn content_hash(&self) -> ContentHash {
        ContentHash(*blake3::hash(&self.bytes).as_bytes())
    }

    /// The file's bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The most memory that [`Self::decode`] holds at once, bytes, beside the file itself. Reads only the
    /// header, so that a caller can schedule decodes under a memory budget.
    ///
    /// An upper bound: what an animated WebP needs is counted for every WebP.
    pub fn decoded_bytes(&self) -> Result<u64> {
        shielded(|| Ok(self.header()?.peak_bytes))
    }

    /// Decodes the picture and turns it upright.
    ///
    /// Of an animation this is the first frame, of a multi-picture file the main picture. A JPEG that lacks
    /// its end is decoded as far as it goes: most of a photo is still that photo.
    pub fn decode(&self) -> Result<DecodedPhoto> {
        shielded(|| {
            let header = self.header()?;
            let embedded = EmbeddedMetadata::read(&self.bytes);
            let rgb = match header.container {
                Container::Jpeg => {
                    let picture = jpeg::decode(&self.bytes)?;
                    upright(rgb_of(picture)?, embedded.orientation)
                }
                Container::Native(format) => {
                    let decoder = self.decoder(format, header.peak_bytes)?;
                    let picture = DynamicImage::from_decoder(decoder)?;
                    upright(picture.into_rgb8(), embedded.orientation)
                }
                // libheif applies the container's own rotation, which the metadata only repeats.
                Container::Heif => heif::decode(&self.bytes)?,
            };
            let metadata = PhotoMetadata {
                width: rgb.width(),
                height: rgb.height(),
                captured_at: embedded.captured_at,
                gps: embedded.gps,
                camera: embedded.camera,
            };
            Ok(DecodedPhoto { rgb, metadata })
        })
    }

    fn header(&self) -> Result<Header> {
        let container = Container::of(&self.bytes)?;
        let mut jpeg_bytes = 0;
        let (width, height, color) = match container {
            Container::Jpeg => {
                let header = jpeg::header(&self.bytes)?;
                jpeg_bytes = header.peak_bytes;
                (header.width, header.height, ColorType::Rgb8)
            }
            Container::Native(format) => {
                let decoder = self.decoder(format, MAX_HEADER_BYTES)?;
                let (width, height) = decoder.dimensions();
                (width, height, decoder.color_type())
            }
            Container::Heif => {
                let (width, height) = heif::size(&self.bytes)?;
                (width, height, ColorType::Rgb8)
            }
        };
        let pixels = u64::from(width) * u64::from(height);
        if pixels == 0 {
            return refused(format!("a picture of {width}x{height} has no pixels"));
        }
        if pixels > MAX_PIXELS {
            return refused(format!(
                "{width}x{height} is {pixels} pixels; at most {MAX_PIXELS} are decoded"
            ));
        }
        let peak_bytes = container
            .peak_bytes(pixels, color, self.bytes.len() as u64)
            .max(jpeg_bytes);
        Ok(Header {
            container,
            peak_bytes,
        })
    }

    fn decoder(&self, format: ImageFormat, max_alloc: u64) -> Result<impl ImageDecoder> {
        let mut limits = Limits::no_limits();
        limits.max_alloc = Some(max_alloc);
        let mut reader = ImageReader::with_format(Cursor::new(&self.bytes), format);
        reader.limits(limits);
        Ok(reader.into_decoder()?)
    }
}

/// Opens a file, and neither opens nor waits for anything else: a pipe would be open once somebody writes to it.
fn open(path: &Path) -> Result<File> {
    // Pipes that the shell has opened for us: `bt-query <(curl …)`.
    let handed = ["/dev/fd", "/dev/stdin", "/proc/self/fd"];
    if handed.iter().any(|handed| path.starts_with(handed)) {
        return File::open(path).map_err(Error::io(path));
    }
    refuse_other(path, &path.metadata().map_err(Error::io(path))?)?;
    let mut options = File::options();
    options.read(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, libc::O_NONBLOCK);
    let file = options.open(path).map_err(Error::io(path))?;
    // It may have been replaced since it was looked at.
    refuse_other(path, &file.metadata().map_err(Error::io(path))?)?;
    Ok(file)
}

fn refuse_other(path: &Path, found: &Metadata) -> Result<()> {
    if found.is_dir() {
        return Err(Error::io(path)(ErrorKind::IsADirectory.into()));
    }
    if !found.is_file() {
        return refused("it is no file, but a pipe, a socket or a device");
    }
    Ok(())
}

struct Header {
    container: Container,
    peak_bytes: u64,
}

fn refuse_large_file(bytes: u64) -> Result<()> {
    if bytes > MAX_FILE_BYTES {
        return refused(format!(
            "the file has {bytes} bytes; at most {MAX_FILE_BYTES} are read"
        ));
    }
    Ok(())
}

/// Gray is repeated; inks are filters in front of white, one behind the other.
fn rgb_of(picture: JpegPicture) -> Result<RgbImage> {
    let samples = match picture.layout {
        Layout::Gray => picture
            .samples
            .into_iter()
            .flat_map(|gray| [gray; 3])
            .collect(),
        Layout::Rgb => picture.samples,
        Layout::Cmyk => {
            let shine = |ink: u8, black: u8| {
                ((255 - u16::from(ink)) * (255 - u16::from(black)) / 255) as u8
            };
            let (inks, _) = picture.samples.as_chunks::<4>();
            inks.iter()
                .flat_map(|[c, m, y, k]| [shine(*c, *k), shine(*m, *k), shine(*y, *k)])
                .collect()
        }
    };
    RgbImage::from_raw(picture.width, picture.height, samples).map_or_else(
        || refused("its decoder gave fewer pixels than it promised"),
        Ok,
    )
}

fn upright(picture: RgbImage, orientation: Orientation) -> RgbImage {
    let mut picture = DynamicImage::ImageRgb8(picture);
    picture.apply_orientation(orientation);
    picture.into_rgb8()
}

/// Runs a decoder. Decoders meet hostile files, and a panic in one means a broken photo, not a broken build.
fn shielded<T>(decode: impl FnOnce() -> Result<T>) -> Result<T> {
    // Unwind safe: after a panic nothing that `decode` touched is looked at again.
    catch_unwind(AssertUnwindSafe(decode))
        .unwrap_or_else(|_| refused("the picture is damaged, and its decoder gave up on it"))
}

impl From<ImageError> for Error {
    fn from(error: ImageError) -> Self {
        let reason = match error {
            ImageError::Limits(_) => {
                "it asks for more memory than a photo of its size needs".to_owned()
            }
            other => other.to_string(),
        };
        Self::Photo { reason }
    }
}

fn refused<T>(reason: impl Into<String>) -> Result<T> {
    Err(Error::Photo {
        reason: reason.into(),
    })
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use image::codecs::webp::WebPEncoder;
    use image::{ImageEncoder, Rgb};

    use super::*;
    use crate::processor::shared;

    fn fixture(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/fixtures/pixels")
            .join(name)
    }

    fn decode(name: &str) -> DecodedPhoto {
        Encoded::read(&fixture(name)).unwrap().decode().unwrap()
    }

    fn encode(picture: &DynamicImage, format: ImageFormat) -> Vec<u8> {
        let mut file = Cursor::new(Vec::new());
        picture.write_to(&mut file, format).unwrap();
        file.into_inner()
    }

    fn reason(bytes: Vec<u8>) -> String {
        match Encoded::new(bytes).unwrap().decode() {
            Err(Error::Photo { reason }) => reason,
            other => panic!("should be refused: {other:?}"),
        }
    }

    #[test]
    fn names_of_photos_are_recognised() {
        for name in ["a.jpg", "a.JPEG", "b.c.WebP", "x.heic", "é 日本.png"] {
            assert!(is_photo(Path::new(name)), "{name}");
        }
        for name in ["jpg", ".jpg", "a.jpg.txt", "a.mp4", "a."] {
            assert!(!is_photo(Path::new(name)), "{name}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_pipe_named_like_a_photo_is_refused_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe.jpg");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(made.unwrap().success());
        let (send, receive) = std::sync::mpsc::channel();
        std::thread::spawn(move || send.send(Encoded::read(&pipe).map(drop)));
        let waited = receive.recv_timeout(std::time::Duration::from_secs(20));
        let refused = waited.expect("does not block").expect_err("no photo");
        assert!(refused.to_string().contains("a pipe"), "{refused}");
    }

    #[test]
    fn every_orientation_is_turned_upright() {
        let upright = decode("orientation-1.png");
        assert_eq!((upright.metadata.width, upright.metadata.height), (7, 5));
        for tag in 2..=8 {
            let turned = decode(&format!("orientation-{tag}.png"));
            assert_eq!(turned.rgb, upright.rgb, "orientation {tag}");
            assert_eq!(turned.metadata, upright.metadata, "orientation {tag}");
        }
    }

    #[test]
    fn exif_with_the_prefix_of_jpeg_is_read_from_a_webp() {
        let orientation_6 =
            b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0";
        let mut file = Vec::new();
        let mut encoder = WebPEncoder::new_lossless(&mut file);
        encoder.set_exif_metadata(orientation_6.to_vec()).unwrap();
        RgbImage::new(7, 5).write_with_encoder(encoder).unwrap();
        let photo = Encoded::new(file).unwrap().decode().unwrap();
        assert_eq!(photo.rgb.dimensions(), (5, 7));
    }

    #[test]
    fn a_jpegs_exif_data_is_read() {
        let photo = decode("exif.jpg");
        let gps = photo.metadata.gps.unwrap();
        assert!((gps.latitude - -33.8569).abs() < 1e-6 && (gps.longitude - 151.2154).abs() < 1e-6);
        assert_eq!(photo.metadata.camera.as_deref(), Some("NIKON D90"));
        assert_eq!(
            photo.metadata.captured_at.unwrap().to_string(),
            "2019-07-14T18:03:59"
        );
        // Stored as 24x16, lying on its side.
        assert_eq!((photo.metadata.width, photo.metadata.height), (16, 24));
    }

    #[test]
    fn cmyk_as_adobe_writes_it_keeps_its_colour() {
        let photo = decode("cmyk.jpg");
        for (value, expected) in photo
            .rgb
            .get_pixel(12, 8)
            .0
            .into_iter()
            .zip([200u8, 40, 90])
        {
            assert!(
                value.abs_diff(expected) <= 2,
                "{value} instead of {expected}"
            );
        }
    }

    #[test]
    fn every_format_is_told_from_its_content() {
        let picture = DynamicImage::ImageRgb8(RgbImage::from_pixel(9, 4, Rgb([255, 0, 0])));
        for format in [
            ImageFormat::Bmp,
            ImageFormat::Gif,
            ImageFormat::Jpeg,
            ImageFormat::Png,
            ImageFormat::Tiff,
            ImageFormat::WebP,
        ] {
            let photo = Encoded::new(encode(&picture, format))
                .unwrap()
                .decode()
                .unwrap();
            assert_eq!(photo.rgb.dimensions(), (9, 4), "{format:?}");
            assert!(photo.rgb.get_pixel(8, 3)[0] > 250, "{format:?}");
        }
    }

    #[test]
    fn transparency_is_dropped_gray_repeated_and_16_bits_scaled() {
        let pixel = |picture: DynamicImage| {
            let bytes = encode(&picture, ImageFormat::Png);
            Encoded::new(bytes)
                .unwrap()
                .decode()
                .unwrap()
                .rgb
                .get_pixel(0, 0)
                .0
        };
        let clear = image::RgbaImage::from_pixel(1, 1, image::Rgba([10, 20, 30, 0]));
        assert_eq!(pixel(clear.into()), [10, 20, 30]);
        let gray = image::GrayAlphaImage::from_pixel(1, 1, image::LumaA([77, 3]));
        assert_eq!(pixel(gray.into()), [77; 3]);
        let deep = image::ImageBuffer::from_pixel(1, 1, image::Luma([0x8000u16]));
        assert_eq!(pixel(DynamicImage::ImageLuma16(deep)), [128; 3]);
    }

    #[test]
    fn what_is_no_photo_is_refused_in_plain_words() {
        assert_eq!(reason(vec![]), "the file is empty");
        assert!(reason(b"just some text, named .jpg".to_vec()).starts_with("not a picture"));
        assert_eq!(
            reason(b"\0\0\x01\0\x01\0icon".to_vec()),
            "image/x-icon files are not read"
        );
        let mut gif = encode(&DynamicImage::new_rgb8(1, 1), ImageFormat::Gif);
        gif[6..10].copy_from_slice(&[0xff; 4]);
        assert_eq!(
            reason(gif.clone()),
            "65535x65535 is 4294836225 pixels; at most 268435456 are decoded"
        );
        gif[6..10].copy_from_slice(&[0, 0, 5, 0]);
        assert_eq!(reason(gif), "a picture of 0x5 has no pixels");
    }

    #[test]
    fn truncated_pngs_are_refused_and_truncated_jpegs_are_not() {
        let picture = RgbImage::from_fn(64, 64, |x, y| Rgb([(x * 4) as u8, (y * 4) as u8, 7]));
        let mut png = encode(&picture.clone().into(), ImageFormat::Png);
        png.truncate(png.len() / 2);
        reason(png);
        let mut jpeg = encode(&picture.into(), ImageFormat::Jpeg);
        jpeg.truncate(jpeg.len() - 20);
        let photo = Encoded::new(jpeg).unwrap().decode().unwrap();
        assert_eq!(photo.rgb.dimensions(), (64, 64));
        assert!(photo.rgb.get_pixel(60, 4)[0] > 200);
    }

    #[test]
    fn no_damage_gets_past_the_decoder() {
        // Every byte of small files, flipped in turn: a picture or a reason, never a panic.
        for name in ["orientation-6.png", "exif.jpg", "cmyk.jpg"] {
            let file = std::fs::read(fixture(name)).unwrap();
            for at in 0..file.len() {
                let mut damaged = file.clone();
                damaged[at] ^= 0xff;
                let result = Encoded::new(damaged).unwrap().decode();
                assert!(
                    matches!(result, Ok(_) | Err(Error::Photo { .. })),
                    "{name}, byte {at}"
                );
            }
        }
    }

    #[test]
    fn a_panicking_decoder_is_a_broken_photo() {
        let result: Result<()> = shielded(|| panic!("a decoder's bug"));
        assert!(matches!(result, Err(Error::Photo { .. })));
    }

    #[cfg(not(feature = "heif"))]
    #[test]
    fn heic_says_which_feature_reads_it() {
        let file = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic".to_vec();
        assert!(reason(file).contains("--features heif"));
    }

    #[test]
    fn odd_files_are_read_where_they_can_be() {
        let Some(folder) = shared("data/odd") else {
            return;
        };
        for (name, size) in [
            ("alpha.png", (200, 150)),
            ("animated.gif", (245, 245)),
            ("animated.webp", (245, 245)),
            ("animated_apng.png", (245, 245)),
            ("bad_exif.jpg", (500, 500)),
            ("cmyk_adobe.jpg", (100, 100)),
            ("exif_landscape_1.jpg", (1800, 1200)),
            ("exif_landscape_6.jpg", (1800, 1200)),
            ("exif_orientation6.webp", (128, 128)),
            ("exif_portrait_6.jpg", (1200, 1800)),
            ("extreme_aspect_4000x3.png", (4000, 3)),
            ("fuzz_panic.webp", (100, 30)),
            ("gray16.png", (64, 64)),
            ("gray8.jpg", (640, 480)),
            ("hopper.bmp", (128, 128)),
            ("name with spaces é 日本.png", (32, 32)),
            ("png_named.jpg", (640, 480)),
            ("png_text_bomb.png", (1, 1)),
            ("progressive_cat.jpg", (320, 240)),
            ("rgb16.tiff", (100, 40)),
            ("stereo.mpo", (640, 480)),
            ("truncated.jpg", (100, 100)),
        ] {
            let photo = Encoded::read(&folder.join(name)).unwrap().decode();
            assert_eq!(photo.unwrap().rgb.dimensions(), size, "{name}");
        }
        for name in [
            "bomb_50000x50000_1bit.png",
            "bomb_dims.gif",
            "bomb_dims.ico",
            "bomb_hdr_only_2e31.png",
            "broken_stream.png",
            "fuzz_oss36829.jpg",
            "text_named.jpg",
            "truncated.png",
            // Ends where its first scan should begin.
            "ultrahdr.jpg",
            "zero_bytes.jpg",
            "zero_width.gif",
        ] {
            let photo = Encoded::read(&folder.join(name)).unwrap().decode();
            assert!(matches!(photo, Err(Error::Photo { .. })), "{name}");
        }
    }

    #[cfg(feature = "heif")]
    #[test]
    fn heic_and_avif_are_read_and_turned_once() {
        let Some(folder) = shared("data/odd") else {
            return;
        };
        for (name, size) in [
            ("example.heic", (1280, 854)),
            ("example.avif", (800, 533)),
            ("hopper.avif", (128, 128)),
            ("rot1_irot.avif", (640, 427)),
        ] {
            let photo = Encoded::read(&folder.join(name)).unwrap().decode();
            assert_eq!(photo.unwrap().rgb.dimensions(), size, "{name}");
        }
    }

    #[test]
    fn memory_is_counted_for_what_the_decoder_holds() {
        let picture = DynamicImage::ImageRgb8(RgbImage::new(1000, 1000));
        let bytes = |picture: &DynamicImage, format| {
            Encoded::new(encode(picture, format))
                .unwrap()
                .decoded_bytes()
                .unwrap()
        };
        // Output, and a copy to turn it.
        assert!(bytes(&picture, ImageFormat::Png) >= 6_000_000);
        // 16 bits RGBA, and its RGB copy.
        assert!(bytes(&picture.to_rgba16().into(), ImageFormat::Png) >= 11_000_000);
        assert!(bytes(&picture, ImageFormat::Jpeg) >= 6_000_000);
    }
}
