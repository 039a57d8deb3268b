//! Serializers for Arrow data.
