//! Where the server program is.

use std::env;
use std::path::PathBuf;

/// A ClickHouse server program of this machine.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ServerProgram {
    pub(crate) path: PathBuf,
    /// What its command line begins with.
    pub(crate) subcommand: Option<&'static str>,
    /// The outermost element of its configuration files: `yandex` in old versions, which later ones take too.
    pub(crate) root_element: &'static str,
}

impl ServerProgram {
    /// The first one in `PATH`; `/usr/sbin`, where Debian puts it, is searched too although users do not have it there.
    pub(crate) fn find() -> Option<Self> {
        let path = env::var_os("PATH").unwrap_or_default();
        let folders: Vec<PathBuf> = env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]).collect();
        Self::find_in(&folders)
    }

    fn find_in(folders: &[PathBuf]) -> Option<Self> {
        let find = |name: &str| folders.iter().map(|folder| folder.join(name)).find(|path| path.is_file());
        if let Some(path) = find("clickhouse-server") {
            return Some(Self { path, subcommand: None, root_element: "yandex" });
        }
        let path = find("clickhouse")?;
        Some(Self { path, subcommand: Some("server"), root_element: "clickhouse" })
    }
}

#[cfg(test)]
mod tests {
    use std::fs::write;

    use super::*;

    #[test]
    fn the_server_is_preferred_to_the_single_binary_and_either_is_found() {
        let (first, second) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
        let folders = [first.path().to_owned(), second.path().to_owned()];
        assert_eq!(ServerProgram::find_in(&folders), None);

        let path = first.path().join("clickhouse");
        write(&path, "").expect("a file");
        let single = ServerProgram { path, subcommand: Some("server"), root_element: "clickhouse" };
        assert_eq!(ServerProgram::find_in(&folders), Some(single));

        let path = second.path().join("clickhouse-server");
        write(&path, "").expect("a file");
        let server = ServerProgram { path, subcommand: None, root_element: "yandex" };
        assert_eq!(ServerProgram::find_in(&folders), Some(server));
    }
}
