"""Serializers of one's own."""

from retainit._serializers import Serializer, register_serializer

__all__ = ["Serializer", "register_serializer"]
