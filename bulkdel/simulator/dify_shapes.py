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


def _made(document: Document, now: float) -> dict[str, Any]:
    done = document.status(now) == "completed"
    return {
        "name": document.name,
        "created_from": "api",
        "created_by": OWNER,
        "created_at": document.created_at,
        "tokens": document.characters * 5 // 16 if done else None,  # recorded: 40 tokens for 128 characters
        "indexing_status": document.status(now),
    }


def _state(document: Document, now: float) -> dict[str, Any]:
    failed = document.status(now) == "error"
    return {
        "error": "the embedding model could not be reached" if failed else None,
        "enabled": document.enabled,
        "disabled_at": document.disabled_at,
        "disabled_by": None if document.disabled_at is None else OWNER,
        "archived": document.archived,
    }


def listed(document: Document, now: float, *, summaries: bool) -> dict[str, Any]:
    """Give a document as a listing shows it; ``summaries`` is whether this release has summary indexes."""
    file = _upload_file(document)
    return {
        "id": document.id,
        "position": document.position,
        "data_source_type": "upload_file",
        "data_source_info": {"upload_file_id": file["id"]},
        "data_source_detail_dict": {"upload_file": file},
        "dataset_process_rule_id": RULE,
        **_made(document, now),
        **_state(document, now),
        "display_status": display_status(document, now),
        "word_count": document.characters,
        "hit_count": 0,
        "doc_form": "text_model",
        "doc_metadata": None,
        **_summary(summaries),
    }


def alone(document: Document, dataset: str, now: float, *, metadata: bool, summaries: bool) -> dict[str, Any]:
    """Give a document as the request for this one shows it."""
    done = document.status(now) == "completed"
    rules = {"mode": "automatic", "rules": RULES}
    return {
        "id": document.id,
        "position": document.position,
        "data_source_type": "upload_file",
        "data_source_info": {"upload_file": _upload_file(document)},
        "dataset_process_rule_id": RULE,
        "dataset_process_rule": rules,
        "document_process_rule": {"id": RULE, "dataset_id": dataset, **rules},
        **_made(document, now),
        "completed_at": document.created_at if done else None,
        "updated_at": document.created_at,
        "indexing_latency": 0.5 if done else None,
        **_state(document, now),
        **({"doc_type": None, "doc_metadata": None} if metadata else {}),
        "segment_count": document.segments,
        "average_segment_length": document.characters // max(1, document.segments),
        "hit_count": 0,
        "display_status": display_status(document, now),
        "doc_form": "text_model",
        "doc_language": "English",
        **_summary(summaries),
    }


def dataset_shape(dataset: Dataset, now: float, *, preflight: bool, summaries: bool) -> dict[str, Any]:
    """Give a dataset; ``preflight`` is the request for this one, which shows its real search method."""
    documents = dataset.documents.values()
    available = sum(display_status(document, now) == "available" for document in documents)
    shape: dict[str, Any] = {
        "id": dataset.id,
        "name": dataset.name,
        "description": "",
        "provider": dataset.provider,
        "permission": "only_me",
        "data_source_type": "upload_file",
        "indexing_technique": "economy",
        "app_count": 0,
        "document_count": len(documents),
        "word_count": sum(document.characters for document in documents),
        "created_by": OWNER,
        "author_name": "admin",
        "created_at": dataset.created_at,
        "updated_by": OWNER,
        "updated_at": dataset.created_at,
        "embedding_model": None,
        "embedding_model_provider": None,
        "embedding_available": True,
        "retrieval_model_dict": {
            "search_method": "keyword_search" if preflight else "semantic_search",
            "reranking_enable": False,
            "reranking_mode": None,
            "reranking_model": {"reranking_provider_name": "", "reranking_model_name": ""},
            "weights": None,
            "top_k": 2,
            "score_threshold_enabled": False,
            "score_threshold": None,
        },
        "summary_index_setting": {
            "enable": None,
            "model_name": None,
            "model_provider_name": None,
            "summary_prompt": None,
        },
        "tags": [],
        "doc_form": "text_model" if documents else None,
        "external_knowledge_info": dict.fromkeys(
            f"external_knowledge_{word}" for word in ("id", "api_id", "api_name", "api_endpoint")
        ),
        "external_retrieval_model": {"top_k": 2, "score_threshold": 0.0, "score_threshold_enabled": None},
        "doc_metadata": [],
        "built_in_field_enabled": False,
        "pipeline_id": None,
        "runtime_mode": "general",
        "chunk_structure": None,
        "icon_info": dict.fromkeys(("icon_type", "icon", "icon_background", "icon_url")),
        "is_published": False,
        "total_documents": len(documents),
        "total_available_documents": available,
        "enable_api": dataset.api_access,
        "is_multimodal": False,
    }
    if not summaries:
        del shape["summary_index_setting"], shape["is_multimodal"]
    return shape


def _summary(summaries: bool) -> dict[str, Any]:
    return {"summary_index_status": None, "need_summary": False} if summaries else {}


def _upload_file(document: Document) -> dict[str, Any]:
    extension = document.name.rpartition(".")[2].lower()
    return {
        "id": str(uuid.uuid5(uuid.NAMESPACE_OID, document.id)),
        "name": document.name,
        "size": document.characters,
        "extension": extension,
        "mime_type": MIME_TYPES.get(extension, "application/octet-stream"),
        "created_by": OWNER,
        "created_at": float(document.created_at),
    }
