//! Files that other programs keep among photos: thumbnails, previews, and trash.
//!
//! Only names that are unmistakable, and that nobody would give to an album. The systems and servers that make them
//! ignore case, so these rules do too.

use std::path::Path;

/// Names of folders.
const FOLDERS: [&str; 24] = [
    // Synology, QNAP, TerraMaster, Western Digital.
    "@eaDir",
    "#recycle",
    "#snapshot",
    "@Recycle",
    "@Recently-Snapshot",
    ".@__thumb",
    ".wdmc",
    // Windows.
    "$RECYCLE.BIN",
    "System Volume Information",
    // macOS, on its own drives and on others.
    "__MACOSX",
    ".AppleDouble",
    ".DocumentRevisions-V100",
    ".fseventsd",
    ".Spotlight-V100",
    ".TemporaryItems",
    "Network Trash Folder",
    // Linux, and servers that run it.
    "lost+found",
    ".thumbnails",
    ".recycle",
    ".snapshot",
    ".snapshots",
    ".zfs",
    // Syncthing, digiKam.
    ".stversions",
    ".dtrash",
];
/// `.Trash`, `.Trashes`, `.Trash-1000`.
const TRASH: &str = ".trash";
/// Previews of Lightroom: `Catalog Previews.lrdata`.
const PREVIEWS: &str = "lrdata";
/// Libraries of Photos, iPhoto and Aperture, which are folders to all other programs.
const LIBRARIES: [&str; 5] = [
    "photoslibrary",
    "photolibrary",
    "aplibrary",
    "migratedphotolibrary",
    "migratedaplibrary",
];
/// The folders of such a library that hold the photos themselves. Everything else in it is made from them.
const MASTERS: [&str; 2] = ["originals", "Masters"];
/// Beginnings of file names: macOS's metadata, and what Android has deleted or not yet written.
const FILES: [&str; 3] = ["._", ".trashed-", ".pending-"];

/// Returns whether a folder or file belongs to another program, by its name.
pub(super) fn is_of_another_program(path: &Path, is_dir: bool) -> bool {
    let Some(name) = path.file_name() else {
        return false;
    };
    let name = name.to_string_lossy();
    if !is_dir {
        return FILES.iter().any(|start| starts_with(&name, start));
    }
    let in_library = || has_extension(path.parent(), &LIBRARIES) && !is_one_of(&name, &MASTERS);
    is_one_of(&name, &FOLDERS)
        || starts_with(&name, TRASH)
        || has_extension(Some(path), &[PREVIEWS])
        || in_library()
}

fn is_one_of(name: &str, names: &[&str]) -> bool {
    names.iter().any(|one| name.eq_ignore_ascii_case(one))
}

fn starts_with(name: &str, start: &str) -> bool {
    let found = name.get(..start.len());
    found.is_some_and(|found| found.eq_ignore_ascii_case(start))
}

fn has_extension(path: Option<&Path>, extensions: &[&str]) -> bool {
    let extension = path.and_then(Path::extension);
    extension.is_some_and(|extension| is_one_of(&extension.to_string_lossy(), extensions))
}
