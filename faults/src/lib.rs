//! Makes the disk fail under a program: preloaded, it stands between the program and the system calls that change
//! the files of one folder. Linux only; for tests.
//!
//! ```console
//! $ LD_PRELOAD=libbt_faults.so FAULTS_BELOW=/tmp/index FAULTS_AT=17 FAULTS_KIND=full bt-index build photos
//! ```
//!
//! | variable | |
//! |---|---|
//! | `FAULTS_BELOW` | the folder, absolute |
//! | `FAULTS_AT` | the number of the call that fails, from 1; none where it is missing |
//! | `FAULTS_KIND` | how: see [`Kind`](interpose::Kind) |
//! | `FAULTS_LOG` | a file that gets a line for every call |
//! | `FAULTS_DURABLE` | a folder that gets what a power cut would leave: see [`durable`] |

#[cfg(target_os = "linux")]
pub mod durable;
#[cfg(target_os = "linux")]
pub mod interpose;
