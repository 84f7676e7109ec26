//! Every answer of the real clouds that is assumed, as a closed choice.
//!
//! Nobody could ask the real services. What their documentation leaves open is one switch each, with its default (the
//! first setting) and the strength of what it stands on. A client of the clouds has to work under **every** setting:
//! [`Switches::every_setting`] lists them for tests, [`Switches::catalogue`] for people.

use serde::{Deserialize, Serialize};

/// How well an assumption is founded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Evidence {
    /// Concluded from documentation, samples or sister products; may be wrong.
    Inferred,
    /// Nothing was found.
    Unknown,
}

/// One switch, for people.
#[derive(Clone, Debug, Serialize)]
pub struct Switch {
    /// Name of the field in [`Switches`], in JSON too.
    pub name: &'static str,
    /// The open question.
    pub question: &'static str,
    /// How well the default is founded.
    pub evidence: Evidence,
    /// The settings; the first is the default.
    pub settings: Vec<Setting>,
}

/// One setting of a switch, for people.
#[derive(Clone, Debug, Serialize)]
pub struct Setting {
    /// As written in JSON.
    pub name: String,
    /// What the emulated cloud does then.
    pub meaning: &'static str,
}

macro_rules! switches {
    ($(
        #[doc = $question:literal]
        $field:ident: $type:ident, $evidence:ident {
            #[doc = $default_meaning:literal]
            $default:ident,
            $( #[doc = $meaning:literal] $other:ident, )+
        }
    )+) => {
        $(
            #[doc = $question]
            #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
            #[serde(rename_all = "kebab-case")]
            pub enum $type {
                #[doc = $default_meaning]
                #[default]
                $default,
                $( #[doc = $meaning] $other, )+
            }
        )+

        /// The settings of one emulation.
        #[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct Switches {
            $( #[doc = $question] pub $field: $type, )+
        }

        impl Switches {
            /// Every switch with its meaning.
            pub fn catalogue() -> Vec<Switch> {
                vec![$( Switch {
                    name: stringify!($field),
                    question: $question.trim_ascii(),
                    evidence: Evidence::$evidence,
                    settings: vec![
                        Setting { name: json_name(&$type::$default), meaning: $default_meaning.trim_ascii() },
                        $( Setting { name: json_name(&$type::$other), meaning: $meaning.trim_ascii() }, )+
                    ],
                }, )+]
            }

            /// The defaults with one switch turned, for each switch and each of its settings but the default; with a
            /// name for test reports.
            pub fn every_setting() -> Vec<(String, Switches)> {
                let mut all = Vec::new();
                $( $( all.push((
                    format!("{}={}", stringify!($field), json_name(&$type::$other)),
                    Switches { $field: $type::$other, ..Switches::default() },
                )); )+ )+
                all
            }
        }
    };
}

fn json_name(setting: &impl Serialize) -> String {
    match serde_json::to_value(setting) {
        Ok(serde_json::Value::String(name)) => name,
        other => unreachable!("a setting is written as a string, not {other:?}"),
    }
}

switches! {
    /// QingCloud: how does `add_ck_user` refuse a name that exists?
    qingcloud_existing_account: ExistingAccount, Inferred {
        /// The call is accepted and its job fails.
        FailedJob,
        /// The call is refused with 2110.
        RefusedAtOnce,
    }
    /// QingCloud: what does `del_ck_user` do with a name that does not exist?
    qingcloud_missing_account: MissingAccount, Inferred {
        /// The call is accepted and its job fails.
        FailedJob,
        /// The call is accepted and its job succeeds.
        SuccessfulJob,
        /// The call is refused with 2100.
        RefusedAtOnce,
    }
    /// QingCloud: when is a broken rule of `service_params` told?
    qingcloud_rule_violation: RuleViolation, Inferred {
        /// The call is refused with 1100.
        RefusedAtOnce,
        /// The call is accepted and its job fails.
        FailedJob,
    }
    /// QingCloud: what does `DescribeJobs` say of an id it does not know?
    qingcloud_unknown_job: UnknownJob, Inferred {
        /// Success, and the job is not in the list.
        LeftOut,
        /// The call is refused with 2100.
        Refused,
    }
    /// QingCloud: in which order does `DescribeJobs` list?
    qingcloud_job_order: JobOrder, Unknown {
        /// Newest job first.
        NewestFirst,
        /// Oldest job first.
        OldestFirst,
    }
    /// QingCloud: does a job's `directive` repeat the parameter `req_id`?
    qingcloud_request_id: RequestId, Inferred {
        /// As it was sent.
        Repeated,
        /// Dropped.
        Dropped,
    }
    /// QingCloud: may a `req_id` be used again after a call that was accepted under it?
    qingcloud_repeated_request_id: RepeatedRequestId, Unknown {
        /// It is not looked at.
        Accepted,
        /// The call is refused with 1100.
        Refused,
    }
    /// QingCloud: in which form does a job's `directive` hold `service_params`?
    qingcloud_directive_params: DirectiveParams, Unknown {
        /// As the text that was sent.
        Text,
        /// As an object.
        Object,
    }
    /// QingCloud: does a job's `directive` show the password?
    qingcloud_directive_password: DirectivePassword, Inferred {
        /// In clear text.
        Clear,
        /// Replaced by stars.
        Masked,
    }
    /// QingCloud: does `RunClusterCustomService` take POST forms?
    qingcloud_post: Post, Inferred {
        /// GET and POST are both taken.
        Accepted,
        /// POST is refused with 1101.
        Refused,
    }
    /// QingCloud: in which form does `DescribeClusters` give `endpoints`?
    qingcloud_endpoints: Endpoints, Unknown {
        /// A JSON object.
        Object,
        /// A text that holds JSON.
        Text,
        /// null.
        Null,
    }
    /// QingCloud: what happens to a custom service while another runs on the cluster?
    qingcloud_busy: Busy, Inferred {
        /// It is refused with 1400, `please try later`.
        Refused,
        /// It is accepted and its job waits for the other.
        Queued,
    }
    /// QingCloud: what is a cluster's `transition_status` while a custom service runs?
    qingcloud_transition_status: TransitionStatus, Unknown {
        /// `updating`.
        Updating,
        /// Empty, as if the cluster were idle.
        Empty,
    }
    /// QingCloud: what is in `message` of a refusal?
    qingcloud_message: Message, Inferred {
        /// Code word, comma, blank, detail.
        Text,
        /// null.
        Null,
    }
    /// QingCloud: which HTTP status does a refusal have?
    qingcloud_error_status: ErrorStatus, Inferred {
        /// 200, as a success.
        Ok,
        /// 400.
        BadRequest,
    }
    /// QingCloud: what is in `error_codes` of a failed job?
    qingcloud_job_error_codes: JobErrorCodes, Unknown {
        /// Nothing.
        Empty,
        /// The exit status of the command on the node.
        ExitStatus,
    }
    /// QingCloud: which `status` does a failed job have?
    qingcloud_failed_job: FailedJob, Inferred {
        /// `failed`.
        Failed,
        /// `done with failure`.
        DoneWithFailure,
    }
    /// QingCloud: what happens to a `time_stamp` more than 60 s ahead?
    qingcloud_future_time: FutureTime, Unknown {
        /// Refused with 1300.
        Refused,
        /// Accepted.
        Accepted,
    }
    /// QingCloud: how is a custom service on an unknown cluster refused?
    qingcloud_unknown_cluster: UnknownCluster, Inferred {
        /// With 2100.
        NotFound,
        /// With 1400, `describe resource failed`.
        PermissionDenied,
    }
    /// QingCloud: is the forbidden name `default` compared with its case?
    qingcloud_default_name: DefaultName, Unknown {
        /// Only `default` is refused.
        ExactCase,
        /// `Default` and the like are refused too.
        AnyCase,
    }
    /// QingCloud: are names that differ in case names of two accounts?
    qingcloud_name_case: NameCase, Unknown {
        /// Yes, as in ClickHouse itself.
        Distinct,
        /// No: the one is taken by the other.
        Same,
    }
    /// QingCloud: what may a new account do?
    qingcloud_new_account_rights: NewAccountRights, Unknown {
        /// Read only.
        ReadOnly,
        /// Everything.
        ReadWrite,
    }

    /// Huawei Cloud: how does the list's filter `user_name` compare?
    huawei_user_name_filter: UserNameFilter, Unknown {
        /// The whole name.
        Exact,
        /// Any part of the name.
        Substring,
        /// The beginning of the name.
        Prefix,
    }
    /// Huawei Cloud: does `total_count` of a list count what the filter left out?
    huawei_total_count: TotalCount, Unknown {
        /// It counts what matches.
        AfterFilter,
        /// It counts everything.
        BeforeFilter,
    }
    /// Huawei Cloud: which shape has the database service's error body?
    huawei_envelope: Envelope, Inferred {
        /// `error_code`, `error_msg`.
        ErrorCode,
        /// `errorCode`, `errorMsg`.
        CamelCase,
        /// `errCode`, `externalMessage`.
        ErrCode,
        /// `code`, `message`.
        CodeMessage,
        /// `error` with `code`, `message`, `title` inside.
        Nested,
    }
    /// Huawei Cloud: which prefix have the gateway's codes?
    huawei_gateway_prefix: GatewayPrefix, Inferred {
        /// `APIGW.`
        Apigw,
        /// `APIG.`
        Apig,
    }
    /// Huawei Cloud: do the account operations use the codes of the service family?
    huawei_account_codes: AccountCodes, Inferred {
        /// DBS.200827 for an account that exists, DBS.200824 for one that does not.
        Specific,
        /// DBS.280001 (400) for both.
        Generic,
    }
    /// Huawei Cloud: may the list of databases be empty?
    huawei_empty_databases: EmptyDatabases, Unknown {
        /// Yes: the account can touch none.
        Accepted,
        /// No: DBS.280001.
        Refused,
    }
    /// Huawei Cloud: may `*` stand beside names of databases?
    huawei_star_with_names: StarWithNames, Unknown {
        /// No: DBS.280001.
        Refused,
        /// Yes.
        Accepted,
    }
    /// Huawei Cloud: may a database be named that does not exist?
    huawei_unknown_database: UnknownDatabase, Unknown {
        /// No: DBS.200823.
        Refused,
        /// Yes.
        Accepted,
    }
    /// Huawei Cloud: what does a change of permission do to the list of databases?
    huawei_permission_change: PermissionChange, Inferred {
        /// The new list replaces the old.
        Replaces,
        /// The new list is added to the old.
        Adds,
    }
    /// Huawei Cloud: what happens to a write while another runs on the instance?
    huawei_concurrent_write: ConcurrentWrite, Inferred {
        /// It is refused with DBS.200019 (409).
        Refused,
        /// It waits for the other.
        Queued,
    }
    /// Huawei Cloud: is a comma one of the special characters of a password?
    huawei_password_comma: PasswordComma, Unknown {
        /// No: DBS.280203.
        Refused,
        /// Yes.
        Accepted,
    }
    /// Huawei Cloud: are password and account name compared with their case?
    huawei_password_like_name: PasswordLikeName, Inferred {
        /// Without: also a password that differs only in case is refused.
        AnyCase,
        /// With.
        ExactCase,
    }
    /// Huawei Cloud: what is said of an instance of another project?
    huawei_foreign_instance: ForeignInstance, Inferred {
        /// DBS.200044 (403): not found or no permission.
        Forbidden,
        /// DBS.200002 (404): not found.
        NotFound,
    }
    /// Huawei Cloud: are the ClickHouse paths still published?
    huawei_published: Published, Inferred {
        /// Yes.
        Yes,
        /// No: APIGW.0101 (404).
        No,
    }
    /// Huawei Cloud: is `traffic_vip` of a node filled?
    huawei_traffic_vip: TrafficVip, Unknown {
        /// No: empty text, the address is in `traffic_ip`.
        Empty,
        /// Yes, beside `traffic_ip`.
        Filled,
    }
    /// Huawei Cloud: what is `engine_name` of ClickHouse in the list of analysis instances?
    huawei_engine_name: EngineName, Inferred {
        /// `click-house`.
        ClickHouse,
        /// `clickhouse`.
        OneWord,
    }
    /// IAM: may a token's scope name the project together with its domain?
    iam_project_domain: ProjectDomain, Inferred {
        /// Yes.
        Accepted,
        /// No: 400.
        Refused,
    }
    /// IAM: how long is a token?
    iam_token_length: TokenLength, Inferred {
        /// About 9,100 characters.
        Long,
        /// About 180 characters, as Keystone's.
        Short,
    }
}

impl TokenLength {
    pub(crate) fn characters(self) -> usize {
        match self {
            Self::Long => 9_120,
            Self::Short => 180,
        }
    }
}

impl GatewayPrefix {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Apigw => "APIGW",
            Self::Apig => "APIG",
        }
    }
}

impl EngineName {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::ClickHouse => "click-house",
            Self::OneWord => "clickhouse",
        }
    }
}
