"""The systems by name; each entry holds its options, the inputs it reads, and its model."""

from lightning_ita.registry import Registry

# The entries are subclasses of `lightning_ita.models.options.Options`; each names its model, which is imported later.
MODELS = Registry(
    "system",
    {
        "bert-crf": "lightning_ita.models.bert_crf:BertCRFOptions",
        "ita": "lightning_ita.models.ita:ITAOptions",
        "ocsga": "lightning_ita.models.ocsga:OCSGAOptions",
        "umt": "lightning_ita.models.umt:UMTOptions",
        "umgf": "lightning_ita.models.umgf:UMGFOptions",
        "riva": "lightning_ita.models.riva:RIVAOptions",
        "rpbert": "lightning_ita.models.rpbert:RpBERTOptions",
        "bga-mner": "lightning_ita.models.bga_mner:BGAMNEROptions",
    },
    group="lightning_ita.models",
)
