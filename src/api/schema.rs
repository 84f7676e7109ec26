//! Schemas that attributes cannot say: types to name in `#[schemars(with = "...")]`.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::rules;
use crate::provider::contract::ProviderKind;

/// Declares a type that stands for a schema and nothing else.
macro_rules! schema {
    ($(#[$doc:meta])* $name:ident, $schema:expr) => {
        $(#[$doc])*
        pub struct $name;

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn inline_schema() -> bool {
                true
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                $schema
            }
        }
    };
}

/// What the value of a label may be.
const LABEL_VALUE_PATTERN: &str = "^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$";

/// Seconds, at most nanoseconds, and an offset. The API server's own `date-time` check lets through texts that no
/// parser reads (any separator before the fraction, offsets of 99 hours), and one unreadable object would stop the
/// watch of its kind.
const TIME_PATTERN: &str =
    r"^2[0-9]{3}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$";

schema! {
    /// A point in time.
    Moment, json_schema!({ "type": "string", "format": "date-time", "pattern": TIME_PATTERN })
}
schema! {
    /// What an account may do.
    PermissionName, json_schema!({ "type": "string", "enum": ["ReadOnly", "ReadAndConfigure"] })
}
schema! {
    /// One of the clouds this build knows.
    ProviderName, json_schema!({ "type": "string", "enum": ProviderKind::ALL.map(ProviderKind::as_str) })
}
schema! {
    /// Labels, bounded as Kubernetes bounds their values.
    Labels, json_schema!({
        "type": "object",
        "maxProperties": 32,
        "additionalProperties": { "type": "string", "maxLength": 63, "pattern": LABEL_VALUE_PATTERN },
        "x-kubernetes-validations": [rules::metadata_keys("labels")],
    })
}
schema! {
    /// Annotations, bounded well below what an object may carry.
    Annotations, json_schema!({
        "type": "object",
        "maxProperties": 32,
        "additionalProperties": { "type": "string", "maxLength": 4096 },
        "x-kubernetes-validations": [rules::metadata_keys("annotations")],
    })
}
schema! {
    /// A label selector with the limits that the library's own schema leaves out.
    Selector,
    json_schema!({
        "type": "object",
        "x-kubernetes-map-type": "atomic",
        "properties": {
            "matchLabels": {
                "type": "object",
                "description": "Labels that a namespace must carry with exactly these values. All must match.",
                "maxProperties": 32,
                "additionalProperties": { "type": "string", "maxLength": 63, "pattern": LABEL_VALUE_PATTERN },
            },
            "matchExpressions": {
                "type": "array",
                "description": "Requirements on labels of the namespace. All must hold.",
                "maxItems": 32,
                "x-kubernetes-list-type": "atomic",
                "items": {
                    "type": "object",
                    "description": "One requirement on one label of the namespace.",
                    "required": ["key", "operator"],
                    "properties": {
                        "key": {
                            "type": "string",
                            "description": "The label that the requirement is about.",
                            "minLength": 1,
                            "maxLength": 317,
                        },
                        "operator": {
                            "type": "string",
                            "description": "How the label relates to the values: In and NotIn need values, Exists and \
                                            DoesNotExist take none.",
                            "enum": ["In", "NotIn", "Exists", "DoesNotExist"],
                        },
                        "values": {
                            "type": "array",
                            "description": "The values that In or NotIn compare with.",
                            "maxItems": 64,
                            "x-kubernetes-list-type": "atomic",
                            "items": { "type": "string", "maxLength": 63, "pattern": LABEL_VALUE_PATTERN },
                        },
                    },
                },
            },
        },
    })
}
schema! {
    /// Conditions with the limits of the Go type, which the library's own schema leaves out, and without the
    /// `default: []` that a `Vec` would bring.
    Conditions,
    json_schema!({
        "type": "array",
        "maxItems": 16,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
        "items": {
            "type": "object",
            "description": "One aspect of the state of the object.",
            "required": ["type", "status", "reason", "message", "lastTransitionTime"],
            "properties": {
                "type": {
                    "type": "string",
                    "description": "The aspect: Ready, Reconciling, Stalled, Suspended or LoginVerified.",
                    "maxLength": 316,
                    "pattern": r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$",
                },
                "status": {
                    "type": "string",
                    "description": "True, False or Unknown.",
                    "enum": ["True", "False", "Unknown"],
                },
                "reason": {
                    "type": "string",
                    "description": "One word for why the status is as it is; the documentation has a table of them.",
                    "minLength": 1,
                    "maxLength": 1024,
                    "pattern": "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$",
                },
                "message": {
                    "type": "string",
                    "description": "The reason in words for people.",
                    "maxLength": 32768,
                },
                "observedGeneration": {
                    "type": "integer",
                    "format": "int64",
                    "description": "The metadata.generation that the condition was made from.",
                    "minimum": 0,
                },
                "lastTransitionTime": {
                    "type": "string",
                    "description": "When the status last changed; reason and message may have changed since.",
                    "format": "date-time",
                    "pattern": TIME_PATTERN,
                },
            },
        },
    })
}
