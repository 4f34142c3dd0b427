"""Dify's JSON: how it writes datasets, documents and errors, key by key as recorded from 1.14.2."""

from __future__ import annotations

import json
import uuid
from typing import Any

from bulkdel.simulator.documents import Dataset, Document

OWNER = str(uuid.uuid5(uuid.NAMESPACE_DNS, "owner.simulator.invalid"))
RULE = str(uuid.uuid5(uuid.NAMESPACE_DNS, "rule.simulator.invalid"))
RULES: dict[str, Any] = {
    "pre_processing_rules": [],
    "segmentation": {"delimiter": "\n", "max_tokens": 500, "chunk_overlap": 50},
}
MIME_TYPES = {
    "txt": "text/plain",
    "md": "text/markdown",
    "csv": "text/csv",
    "html": "text/html",
    "pdf": "application/pdf",
    "docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
}
DATASET: dict[str, Any] = {
    "id": "", "name": "", "description": "", "provider": "", "permission": "only_me", "data_source_type": "upload_file",
    "indexing_technique": "economy", "app_count": 0, "document_count": 0, "word_count": 0, "created_by": OWNER,
    "author_name": "admin", "created_at": 0, "updated_by": OWNER, "updated_at": 0, "embedding_model": None,
    "embedding_model_provider": None, "embedding_available": True, "retrieval_model_dict": {
        "search_method": "", "reranking_enable": False, "reranking_mode": None,
        "reranking_model": {"reranking_provider_name": "", "reranking_model_name": ""}, "weights": None, "top_k": 2,
        "score_threshold_enabled": False, "score_threshold": None,
    },
    "summary_index_setting": dict.fromkeys(("enable", "model_name", "model_provider_name", "summary_prompt")),
    "tags": [], "doc_form": None, "external_knowledge_info": dict.fromkeys(
        f"external_knowledge_{word}" for word in ("id", "api_id", "api_name", "api_endpoint")
    ),
    "external_retrieval_model": {"top_k": 2, "score_threshold": 0.0, "score_threshold_enabled": None},
    "doc_metadata": [], "built_in_field_enabled": False, "pipeline_id": None, "runtime_mode": "general",
    "chunk_structure": None, "icon_info": dict.fromkeys(("icon_type", "icon", "icon_background", "icon_url")),
    "is_published": False, "total_documents": 0, "total_available_documents": 0, "enable_api": True, "is_multimodal": False,
}  # fmt: skip
"""A dataset's keys in Dify's order, with what is the same in all."""
LISTED = [
    "id", "position", "data_source_type", "data_source_info", "data_source_detail_dict", "dataset_process_rule_id",
    "name", "created_from", "created_by", "created_at", "tokens", "indexing_status", "error", "enabled",
    "disabled_at", "disabled_by", "archived", "display_status", "word_count", "hit_count", "doc_form", "doc_metadata",
]  # fmt: skip
ALONE = [
    "id", "position", "data_source_type", "data_source_info", "dataset_process_rule_id", "dataset_process_rule",
    "document_process_rule", "name", "created_from", "created_by", "created_at", "tokens", "indexing_status",
    "completed_at", "updated_at", "indexing_latency", "error", "enabled", "disabled_at", "disabled_by", "archived",
    "doc_type", "doc_metadata", "segment_count", "average_segment_length", "hit_count", "display_status", "doc_form",
    "doc_language",
]  # fmt: skip
SUMMARY = ["summary_index_status", "need_summary"]
"""A document's keys in Dify's order: as a listing shows it, as the request for this one does, and what newer releases add."""


def dumps(data: Any) -> bytes:
    """Write JSON as Dify's framework does: compact, ASCII, slashes escaped, a line feed at the end."""
    return (json.dumps(data, separators=(",", ":")).replace("/", "\\/") + "\n").encode()


def display_status(document: Document, now: float) -> str:
    """Give the one word that Dify derives for its users; ``archived`` wins only over a completed document."""
    status = document.status(now)
    if status == "waiting":
        return "queuing"
    if status == "error":
        return "error"
    if status != "completed":
        return "paused" if document.paused else "indexing"
    if document.archived:
        return "archived"
    return "available" if document.enabled else "disabled"


def listed(document: Document, now: float, *, summaries: bool) -> dict[str, Any]:
    """Give a document as a listing shows it; ``summaries`` is whether this release has summary indexes."""
    facts = _facts(document, now)
    keys = LISTED + SUMMARY if summaries else LISTED
    return {key: facts[key] for key in keys} | {
        "data_source_info": {"upload_file_id": facts["data_source_info"]["upload_file"]["id"]}
    }


def alone(document: Document, dataset: str, now: float, *, metadata: bool, summaries: bool) -> dict[str, Any]:
    """Give a document as the request for this one shows it."""
    facts = _facts(document, now)
    facts["document_process_rule"] = {"id": RULE, "dataset_id": dataset} | facts["dataset_process_rule"]
    keys = [key for key in ALONE if metadata or key not in ("doc_type", "doc_metadata")]
    return {key: facts[key] for key in keys + SUMMARY * summaries}


def _facts(document: Document, now: float) -> dict[str, Any]:
    """Every key that Dify shows of a document anywhere."""
    status, extension = document.status(now), document.name.rpartition(".")[2].lower()
    done = status == "completed"
    file = {
        "id": str(uuid.uuid5(uuid.NAMESPACE_OID, document.id)), "name": document.name, "size": document.characters,
        "extension": extension, "mime_type": MIME_TYPES.get(extension, "application/octet-stream"), "created_by": OWNER,
        "created_at": float(document.created_at),
    }  # fmt: skip
    return {
        "id": document.id, "position": document.position, "name": document.name, "created_from": "api", "created_by": OWNER,
        "data_source_type": "upload_file", "data_source_info": {"upload_file": file}, "data_source_detail_dict": {"upload_file": file},
        "dataset_process_rule_id": RULE, "dataset_process_rule": {"mode": "automatic", "rules": RULES},
        "tokens": document.characters * 5 // 16 if done else None,  # recorded: 40 for 128 characters
        "error": "the embedding model could not be reached" if status == "error" else None,
        "created_at": document.created_at, "updated_at": document.created_at,
        "completed_at": document.created_at if done else None, "indexing_latency": 0.5 if done else None,
        "indexing_status": status, "display_status": display_status(document, now), "enabled": document.enabled,
        "disabled_at": document.disabled_at, "disabled_by": None if document.disabled_at is None else OWNER,
        "archived": document.archived, "word_count": document.characters, "segment_count": document.segments,
        "average_segment_length": document.characters // max(1, document.segments), "hit_count": 0,
        "doc_type": None, "doc_metadata": None, "doc_form": "text_model", "doc_language": "English",
        "summary_index_status": None, "need_summary": False,
    }  # fmt: skip


def dataset_shape(dataset: Dataset, now: float, *, preflight: bool, summaries: bool) -> dict[str, Any]:
    """Give a dataset; ``preflight`` is the request for this one, which shows its real search method."""
    documents = dataset.documents.values()
    search = "keyword_search" if preflight else "semantic_search"
    shape = DATASET | {
        "id": dataset.id, "name": dataset.name, "provider": dataset.provider, "document_count": len(documents),
        "word_count": sum(document.characters for document in documents), "created_at": dataset.created_at,
        "updated_at": dataset.created_at, "retrieval_model_dict": DATASET["retrieval_model_dict"] | {"search_method": search},
        "doc_form": "text_model" if documents else None, "total_documents": len(documents),
        "total_available_documents": sum(display_status(document, now) == "available" for document in documents),
        "enable_api": dataset.api_access,
    }  # fmt: skip
    if not summaries:
        del shape["summary_index_setting"], shape["is_multimodal"]
    return shape
