//! The configuration files of the server.

use crate::account::ReadOnly;

/// The main file. Every path is relative to the folder the server runs in.
pub(crate) fn server(root: &str, http_port: u16, tcp_port: u16) -> String {
    format!(
        "<{root}>\
         <logger><level>information</level><console>1</console></logger>\
         <listen_host>127.0.0.1</listen_host>\
         <http_port>{http_port}</http_port><tcp_port>{tcp_port}</tcp_port>\
         <path>data/</path><tmp_path>tmp/</tmp_path>\
         <user_files_path>user_files/</user_files_path><format_schema_path>format_schemas/</format_schema_path>\
         <mark_cache_size>5368709120</mark_cache_size>\
         <users_config>users.xml</users_config>\
         <default_profile>default</default_profile><default_database>default</default_database>\
         </{root}>"
    )
}

/// The users file: profiles, one quota without limits, and the account of the harness (as XML).
pub(crate) fn users(root: &str, administrator: &str) -> String {
    let [all, reads, sets] = ReadOnly::ALL.map(|read_only| {
        let (profile, setting) = (read_only.profile(), read_only.setting());
        format!("<{profile}><readonly>{setting}</readonly></{profile}>")
    });
    format!(
        "<{root}><profiles>{all}{reads}{sets}</profiles>\
         <quotas><default><interval><duration>3600</duration></interval></default></quotas>\
         {administrator}</{root}>"
    )
}
