//! Which photos a scan finds, and what it says of the rest.

use std::fs;
use std::path::Path;
#[cfg(unix)]
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use candle_core::{DType, Device, Tensor};

use super::scan::{Scan, scan};
use super::select::ScanOptions;
use super::{BuildOptions, build};
use crate::engine::{Engine, EngineOptions, Precision};
use crate::error::Error;
use crate::index::IndexWriter;

fn touch(path: &Path) {
    fs::create_dir_all(path.parent().expect("has a parent")).expect("creates");
    fs::write(path, b"x").expect("writes");
}

#[test]
fn photos_are_found_by_name_and_hidden_ones_left_out() {
    let dir = tempfile::tempdir().expect("tempdir");
    for name in ["b.JPG", "a/c.png", "a/notes.txt", ".thumbs/d.jpg", ".e.jpg"] {
        touch(&dir.path().join(name));
    }
    // Twice, nested, and with a slash at the end.
    let twice = [
        dir.path().into(),
        dir.path().join("a"),
        dir.path().join("a/"),
    ];
    let found = scan(&twice, &ScanOptions::default()).expect("scans");
    assert_eq!(names(&found, dir.path()), ["a/c.png", "b.JPG"]);
    assert!(found.unreadable.is_empty());
}

#[cfg(unix)]
#[test]
fn links_cannot_make_a_loop_or_hide_that_they_lead_nowhere() {
    use std::os::unix::fs::symlink;
    let dir = tempfile::tempdir().expect("tempdir");
    touch(&dir.path().join("a.jpg"));
    symlink(dir.path(), dir.path().join("loop")).expect("links");
    symlink("nowhere.jpg", dir.path().join("dangling.jpg")).expect("links");
    symlink("a.jpg", dir.path().join("link.jpg")).expect("links");
    let found = scan(&[dir.path().into()], &ScanOptions::default()).expect("scans");
    assert_eq!(found.files.len(), 2);
    assert_eq!(found.unreadable.len(), 1);
}

#[test]
fn missing_and_empty_folders_are_told_apart() {
    let dir = tempfile::tempdir().expect("tempdir");
    let missing = scan(&[dir.path().join("no")], &ScanOptions::default());
    let missing = missing.expect_err("not there");
    assert!(matches!(missing, Error::NoFolder { .. }));
    let empty = scan(&[dir.path().into()], &ScanOptions::default()).expect_err("empty");
    assert!(matches!(empty, Error::NoPhotos { .. }));
}

/// The names below `root` of what a scan found, and of what it complains about.
fn found(root: &Path, options: &ScanOptions) -> (Vec<String>, Vec<(String, String)>) {
    let scan = scan(&[root.into()], options).expect("scans");
    let complaints = scan.unreadable.iter();
    let complaints = complaints.map(|(path, reason)| (below(path, root), reason.clone()));
    (names(&scan, root), complaints.collect())
}

fn names(scan: &Scan, root: &Path) -> Vec<String> {
    let files = scan.files.iter();
    files.map(|file| below(&file.path, root)).collect()
}

fn below(path: &Path, root: &Path) -> String {
    let root = root.canonicalize().expect("exists");
    let below = path.strip_prefix(&root).expect("below");
    below.display().to_string()
}

fn excluding(patterns: &[&str]) -> ScanOptions {
    ScanOptions {
        exclude: patterns.iter().map(ToString::to_string).collect(),
        ..ScanOptions::default()
    }
}

#[test]
fn what_a_btignore_names_is_left_out_from_its_folder_down() {
    let dir = tempfile::tempdir().expect("tempdir");
    for name in [
        "a.jpg",
        "raw/b.jpg",
        "trip/raw/c.jpg",
        "trip/d.png",
        "trip/e.jpg",
    ] {
        touch(&dir.path().join(name));
    }
    let rules = |folder: &str, text: &str| {
        fs::write(dir.path().join(folder).join(".btignore"), text).expect("writes");
    };
    let plain = ScanOptions::default();
    rules("", "# not these\nraw/\n");
    assert_eq!(
        found(dir.path(), &plain).0,
        ["a.jpg", "trip/d.png", "trip/e.jpg"]
    );
    rules("", "/raw\n*.jpg\n");
    rules("trip", "!e.jpg\n");
    assert_eq!(found(dir.path(), &plain).0, ["trip/d.png", "trip/e.jpg"]);
    rules("trip", "*.png\n");
    rules("", "");
    assert_eq!(
        found(dir.path(), &plain).0,
        ["a.jpg", "raw/b.jpg", "trip/e.jpg", "trip/raw/c.jpg"]
    );
}

/// A build of one folder takes in what a build of everything would.
#[test]
fn the_btignore_of_a_folder_above_counts_too() {
    let dir = tempfile::tempdir().expect("tempdir");
    for name in ["trip/a.jpg", "trip/raw/b.jpg"] {
        touch(&dir.path().join(name));
    }
    fs::write(dir.path().join(".btignore"), "/trip/raw\n").expect("writes");
    let trip = dir.path().join("trip");
    assert_eq!(found(&trip, &ScanOptions::default()).0, ["a.jpg"]);
}

#[test]
fn other_programs_ignore_files_do_not_count() {
    let dir = tempfile::tempdir().expect("tempdir");
    fs::create_dir(dir.path().join(".git")).expect("creates");
    touch(&dir.path().join("a.jpg"));
    for name in [".gitignore", ".ignore"] {
        fs::write(dir.path().join(name), "*.jpg\n").expect("writes");
    }
    assert_eq!(found(dir.path(), &ScanOptions::default()).0, ["a.jpg"]);
}

#[test]
fn excluded_patterns_work_as_in_a_gitignore() {
    let dir = tempfile::tempdir().expect("tempdir");
    for name in ["a.jpg", "a.png", "raw/b.jpg", "trip/raw/c.jpg"] {
        touch(&dir.path().join(name));
    }
    let left = |patterns: &[&str]| found(dir.path(), &excluding(patterns)).0;
    assert_eq!(left(&["raw/"]), ["a.jpg", "a.png"]);
    assert_eq!(left(&["/raw"]), ["a.jpg", "a.png", "trip/raw/c.jpg"]);
    assert_eq!(left(&["*.jpg", "!c.jpg"]), ["a.png", "trip/raw/c.jpg"]);
    assert_eq!(left(&["trip/**", "*.png"]), ["a.jpg", "raw/b.jpg"]);
}

#[test]
fn hidden_photos_are_found_on_demand() {
    let dir = tempfile::tempdir().expect("tempdir");
    for name in ["a.jpg", ".b.jpg", ".album/c.jpg"] {
        touch(&dir.path().join(name));
    }
    let hidden = ScanOptions {
        hidden: true,
        one_file_system: true,
        ..ScanOptions::default()
    };
    assert_eq!(
        found(dir.path(), &hidden).0,
        [".album/c.jpg", ".b.jpg", "a.jpg"]
    );
    fs::write(dir.path().join(".btignore"), ".album\n").expect("writes");
    assert_eq!(found(dir.path(), &hidden).0, [".b.jpg", "a.jpg"]);
}

#[test]
fn malformed_lines_of_a_btignore_are_told_and_the_others_count() {
    let dir = tempfile::tempdir().expect("tempdir");
    for name in ["a.jpg", "b.jpg", "trip/c.jpg"] {
        touch(&dir.path().join(name));
    }
    fs::write(dir.path().join(".btignore"), "[z-a]\nb.jpg\n{x\n").expect("writes");
    fs::write(dir.path().join("trip/.btignore"), b"caf\xe9\n").expect("writes");
    let (files, complaints) = found(dir.path(), &ScanOptions::default());
    assert_eq!(files, ["a.jpg", "trip/c.jpg"]);
    let names: Vec<_> = complaints.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, [".btignore", ".btignore", "trip/.btignore"]);
    for (complaint, what) in complaints.iter().zip(["line 1", "line 3", "line 1"]) {
        assert!(complaint.1.starts_with(what), "{complaint:?}");
    }
}

#[test]
fn malformed_excluded_patterns_are_refused() {
    let dir = tempfile::tempdir().expect("tempdir");
    touch(&dir.path().join("a.jpg"));
    let refused = scan(&[dir.path().into()], &excluding(&["*.png", "{a"]));
    assert!(matches!(refused, Err(Error::Pattern { pattern, .. }) if pattern == "{a"));
}

#[test]
fn a_folder_of_which_everything_is_left_out_is_not_taken_for_an_empty_one() {
    let dir = tempfile::tempdir().expect("tempdir");
    touch(&dir.path().join("trip/a.jpg"));
    let roots = [dir.path().to_path_buf()];
    for options in [excluding(&["*.jpg"]), excluding(&["trip"])] {
        let nothing = scan(&roots, &options).expect_err("all left out");
        assert!(matches!(nothing, Error::AllLeftOut { .. }));
    }
    fs::rename(dir.path().join("trip"), dir.path().join(".trip")).expect("renames");
    let nothing = scan(&roots, &ScanOptions::default()).expect_err("hidden");
    assert!(matches!(nothing, Error::AllLeftOut { .. }));
}

/// Photos below a folder that cannot be read must be known to be unseen, rather than taken for gone.
#[cfg(unix)]
#[test]
fn an_unreadable_folder_is_told_by_its_path() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().expect("tempdir");
    touch(&dir.path().join("a.jpg"));
    touch(&dir.path().join("locked/b.jpg"));
    let locked = dir.path().join("locked");
    let permit = |mode| fs::set_permissions(&locked, PermissionsExt::from_mode(mode));
    permit(0o000).expect("locks");
    if fs::read_dir(&locked).is_err() {
        let (files, complaints) = found(dir.path(), &ScanOptions::default());
        assert_eq!(
            (files, complaints[0].0.as_str()),
            (vec!["a.jpg".into()], "locked")
        );
    }
    permit(0o700).expect("unlocks");
}

#[cfg(unix)]
fn following() -> ScanOptions {
    ScanOptions {
        follow: true,
        ..ScanOptions::default()
    }
}

/// A folder `photos`, one `album` beside it, and a link from here to there.
#[cfg(unix)]
fn linked() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().expect("tempdir");
    let photos = dir.path().join("photos");
    touch(&photos.join("a.jpg"));
    touch(&dir.path().join("album/b.jpg"));
    std::os::unix::fs::symlink("../album", photos.join("link")).expect("links");
    (dir, photos)
}

#[cfg(unix)]
#[test]
fn links_to_folders_are_told_and_followed_on_demand() {
    let (_dir, photos) = linked();
    let passed = scan(std::slice::from_ref(&photos), &ScanOptions::default()).expect("scans");
    assert_eq!(names(&passed, &photos), ["a.jpg"]);
    assert_eq!(passed.links.len(), 1);
    assert_eq!(below(&passed.links[0], &photos), "link");
    let followed = scan(std::slice::from_ref(&photos), &following()).expect("scans");
    assert_eq!(names(&followed, &photos), ["a.jpg", "link/b.jpg"]);
    assert!(followed.links.is_empty() && followed.hollow.is_empty());
}

#[cfg(unix)]
#[test]
fn a_folder_that_several_links_lead_to_is_walked_once() {
    use std::os::unix::fs::symlink;
    let (dir, photos) = linked();
    touch(&photos.join("z/c.jpg"));
    // To a folder that is there anyway, to itself, to what is above, once more to the album, and back from there.
    for (target, link) in [
        ("z", "b"),
        (".", "loop"),
        ("..", "up"),
        ("../album", "later"),
        ("../photos", "../album/back"),
        ("later", "again"),
    ] {
        symlink(target, photos.join(link)).expect("links");
    }
    let followed = scan(std::slice::from_ref(&photos), &following()).expect("scans");
    assert_eq!(
        names(&followed, &photos),
        ["a.jpg", "again/b.jpg", "z/c.jpg"]
    );
    assert!(followed.unreadable.is_empty());
    // Both are given.
    let both = [photos.clone(), dir.path().join("album")];
    let followed = scan(&both, &following()).expect("scans");
    assert_eq!(followed.files.len(), 3);
    let passed = scan(&both, &ScanOptions::default()).expect("scans");
    assert_eq!(passed.files.len(), 3);
    let links: Vec<_> = passed.links.iter().map(|it| below(it, &photos)).collect();
    assert_eq!(links, ["up"], "the others hide nothing");
}

#[cfg(unix)]
#[test]
fn rules_count_for_links_and_behind_them() {
    let (dir, photos) = linked();
    touch(&dir.path().join("album/raw/c.jpg"));
    touch(&dir.path().join("album/@eaDir/d.jpg"));
    let found = |rules: &str| {
        fs::write(photos.join(".btignore"), rules).expect("writes");
        found(&photos, &following()).0
    };
    assert_eq!(found(""), ["a.jpg", "link/b.jpg", "link/raw/c.jpg"]);
    assert_eq!(found("raw/"), ["a.jpg", "link/b.jpg"]);
    assert_eq!(found("/link/raw"), ["a.jpg", "link/b.jpg"]);
    assert_eq!(found("link/"), ["a.jpg"]);
    fs::write(dir.path().join("album/.btignore"), "b.jpg").expect("writes");
    assert_eq!(found(""), ["a.jpg", "link/raw/c.jpg"]);
}

/// What was behind it may be on a drive that is not mounted now.
#[cfg(unix)]
#[test]
fn a_link_to_nowhere_or_to_an_empty_folder_is_not_taken_for_an_emptied_one() {
    let (dir, photos) = linked();
    let hollow = || {
        let found = scan(std::slice::from_ref(&photos), &following()).expect("scans");
        assert_eq!(names(&found, &photos), ["a.jpg"]);
        found
            .hollow
            .iter()
            .map(|it| below(it, &photos))
            .collect::<Vec<_>>()
    };
    fs::remove_file(dir.path().join("album/b.jpg")).expect("removes");
    assert_eq!(hollow(), ["link"]);
    fs::remove_dir(dir.path().join("album")).expect("removes");
    assert_eq!(hollow(), ["link"]);
}

#[test]
fn one_missing_or_empty_folder_does_not_hide_the_others() {
    let dir = tempfile::tempdir().expect("tempdir");
    touch(&dir.path().join("a/a.jpg"));
    fs::create_dir(dir.path().join("b")).expect("creates");
    let all = ["missing", "a", "b"].map(|name| dir.path().join(name));
    let found = scan(&all, &ScanOptions::default()).expect("scans");
    assert_eq!(found.files.len(), 1);
    assert_eq!(found.roots.len(), 1);
    let away: Vec<_> = found
        .away
        .iter()
        .map(|(path, _)| path.file_name())
        .collect();
    assert_eq!(away, [Some("missing".as_ref()), Some("b".as_ref())]);
    assert!(matches!(found.away[0].1, Error::NoFolder { .. }));
    assert!(matches!(found.away[1].1, Error::NoPhotos { .. }));
}

#[test]
fn thumbnails_previews_and_trash_of_other_programs_are_left_out() {
    let dir = tempfile::tempdir().expect("tempdir");
    let theirs = [
        "@eaDir/a.jpg/SYNOPHOTO_THUMB_XL.jpg",
        "trip/@EADIR/b.jpg",
        "#recycle/a.jpg",
        "#Snapshot/2024/a.jpg",
        "$Recycle.Bin/S-1-5/$R1.jpg",
        "System Volume Information/a.jpg",
        "@Recycle/a.jpg",
        ".@__thumb/s800a.jpg",
        ".Trash-1000/files/a.jpg",
        ".Trashes/501/a.jpg",
        ".Trash/a.jpg",
        ".thumbnails/large/a.png",
        "lost+found/a.jpg",
        "__MACOSX/trip/a.jpg",
        "._a.jpg",
        "trip/._b.jpg",
        ".trashed-1700000000-a.jpg",
        "Lightroom Previews.lrdata/a.jpg",
        "Photos Library.photoslibrary/resources/derivatives/a.jpeg",
        "Photos Library.photoslibrary/Thumbnails/a.jpg",
        "Old.aplibrary/Previews/a.jpg",
        "iPhoto.photolibrary/Thumbnails/a.jpg",
        ".stversions/a.jpg",
    ];
    let ours = [
        "2024/a.jpg",
        "Masters/a.jpg",
        "Old.aplibrary/Masters/2012/a.jpg",
        "Photos Library.photoslibrary/originals/0/a.heic",
        "eaDir/a.jpg",
        "recycle/a.jpg",
        "resources/a.jpg",
    ];
    for name in theirs.iter().chain(&ours) {
        touch(&dir.path().join(name));
    }
    let all = ScanOptions {
        hidden: true,
        ..ScanOptions::default()
    };
    for options in [ScanOptions::default(), all.clone()] {
        assert_eq!(found(dir.path(), &options).0, ours);
    }

    let back = |options: &ScanOptions| found(dir.path(), options).0.len() - ours.len();
    let excluding = excluding(&["!@eaDir/"]);
    assert_eq!(back(&excluding), 1, "case counts in a pattern");
    fs::write(dir.path().join(".btignore"), "![#]recycle/\n!/.Trash-*\n").expect("writes");
    assert_eq!(back(&all), 2);
    fs::write(dir.path().join("trip/.btignore"), "!@EADIR\n!._b.jpg\n").expect("writes");
    assert_eq!(back(&all), 4);

    // Whoever names it wants it.
    let library = dir.path().join("Photos Library.photoslibrary");
    assert_eq!(found(&library, &all).0, ["originals/0/a.heic"]);
    let previews = library.join("resources/derivatives");
    assert_eq!(found(&previews, &all).0, ["a.jpeg"]);
    let trash = dir.path().join(".Trash");
    assert_eq!(found(&trash, &all).0, ["a.jpg"]);
}

#[cfg(unix)]
#[test]
fn pipes_and_sockets_named_like_photos_are_told() {
    let dir = tempfile::tempdir().expect("tempdir");
    touch(&dir.path().join("a.jpg"));
    let pipe = dir.path().join("pipe.jpg");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.expect("runs").success());
    let socket = std::os::unix::net::UnixListener::bind(dir.path().join("socket.png"));
    socket.expect("binds");
    std::os::unix::fs::symlink("pipe.jpg", dir.path().join("to-pipe.jpg")).expect("links");
    let scan = scan(&[dir.path().into()], &ScanOptions::default()).expect("scans");
    assert_eq!(names(&scan, dir.path()), ["a.jpg"]);
    let told = scan.not_files.iter();
    let told: Vec<_> = told.map(|(path, _)| below(path, dir.path())).collect();
    assert_eq!(told, ["pipe.jpg", "socket.png", "to-pipe.jpg"]);
}

#[cfg(unix)]
#[test]
fn folders_may_be_links_single_photos_or_not_utf_8() {
    use std::os::unix::ffi::OsStrExt;
    let (_dir, photos) = linked();
    let link = photos.join("link");
    let found = scan(std::slice::from_ref(&link), &ScanOptions::default()).expect("scans");
    let real = link.canonicalize().expect("leads somewhere");
    assert_eq!(found.files[0].path, real.join("b.jpg"));
    assert_eq!(found.linked_roots, [(link, real)]);

    let photo = photos.join("a.jpg");
    let found = scan(&[photo], &ScanOptions::default()).expect("scans");
    assert_eq!((found.files.len(), found.roots.len()), (1, 1));

    let latin_1 = photos.join(std::ffi::OsStr::from_bytes(b"\xe9t\xe9"));
    touch(&latin_1.join("c.jpg"));
    let found = scan(&[latin_1], &ScanOptions::default()).expect("scans");
    assert_eq!(found.files.len(), 1);
}

#[test]
fn a_photo_for_which_the_model_computes_no_number_does_not_keep_others_out() {
    let dir = tempfile::tempdir().expect("tempdir");
    let (model, photos) = (dir.path().join("model"), dir.path().join("photos"));
    fs::create_dir(&model).expect("creates");
    fs::create_dir(&photos).expect("creates");
    for file in Path::new("tests/fixtures/checkpoints/tiny-random")
        .read_dir()
        .expect("reads")
    {
        let file = file.expect("reads");
        fs::copy(file.path(), model.join(file.file_name())).expect("copies");
    }
    // A weight that takes bright and dark red beyond f32, and leaves what is as red as the mean.
    let weights = model.join("model.safetensors");
    let mut tensors = candle_core::safetensors::load(&weights, &Device::Cpu).expect("loads");
    let (name, kernel) = tensors
        .iter()
        .find(|(name, _)| name.ends_with("vision_model.visual.embeddings.patch_embedding.weight"))
        .map(|(name, kernel)| (name.clone(), kernel.clone()))
        .expect("the patch embedding");
    let mut values: Vec<f32> = kernel
        .to_dtype(DType::F32)
        .and_then(|kernel| kernel.flatten_all()?.to_vec1())
        .expect("values");
    values[0] = 3e38;
    let spoilt = Tensor::from_vec(values, kernel.shape(), &Device::Cpu).expect("a tensor");
    tensors.insert(name, spoilt);
    candle_core::safetensors::save(&tensors, &weights).expect("saves");
    let picture = |name: &str, colour: [u8; 3]| {
        let picture = image::RgbImage::from_pixel(80, 80, image::Rgb(colour));
        picture.save(photos.join(name)).expect("saves");
    };
    picture("a mean.png", [123, 117, 104]);
    picture("b white.png", [255, 255, 255]);
    picture("c black.png", [0, 0, 0]);

    let options = EngineOptions {
        precision: Precision::F32,
        ..EngineOptions::default()
    };
    let model = model.to_str().expect("UTF-8");
    let engine = Engine::load(model, &options, &mut |_, _, _| {}).expect("loads");
    let identity = engine.identity().expect("identity");
    let mut writer = IndexWriter::open(&dir.path().join("index"), &identity).expect("opens");
    let never = AtomicBool::new(false);
    let options = BuildOptions::default();
    let mut run = |folder: &Path| {
        build(
            &mut writer,
            &engine,
            &[folder.to_owned()],
            &options,
            &never,
            &mut |_| {},
        )
    };
    let report = run(&photos).expect("builds");
    assert_eq!((report.embedded, report.skipped.len()), (1, 2));
    assert!(report.skipped[0].1.contains("NaN"), "{report:?}");
    // A model that computes none for any picture is damaged, and says so.
    fs::remove_file(photos.join("a mean.png")).expect("removes");
    let error = run(&photos).expect_err("no picture has a number");
    assert!(matches!(error, Error::NoNumber { .. }), "{error}");
}
