"""The loop's settings as transformers' own: which of the library's many arguments a run sets, and why.

Everything that decides the weights comes from the run's settings, seed and device; the rest is turned off.
"""

from pathlib import Path

from transformers import TrainingArguments

from pipelines.training.inputs import Loop


def arguments_of(loop: Loop, folder: Path) -> TrainingArguments:
    """The library's arguments for a run that writes its checkpoints into ``folder``."""
    settings = loop.settings
    arguments = TrainingArguments(
        output_dir=str(folder),
        num_train_epochs=settings.epochs,
        per_device_train_batch_size=settings.batch_size,
        gradient_accumulation_steps=settings.gradient_accumulation,
        learning_rate=settings.learning_rate,
        warmup_steps=settings.warmup_steps,
        lr_scheduler_type="linear" if settings.schedule == "linear" else "constant_with_warmup",
        weight_decay=settings.weight_decay,
        max_grad_norm=settings.max_grad_norm,
        activation_checkpointing=settings.gradient_checkpointing,
        # The reentrant kind needs inputs with gradients, which frozen embeddings in front of adapters do not give.
        activation_checkpointing_kwargs={"use_reentrant": False},
        seed=loop.seed,
        optim="adamw_torch_fused",
        bf16=settings.precision == "bfloat16" or (settings.precision == "auto" and loop.device.type == "cuda"),
        use_cpu=loop.device.type == "cpu",
        save_strategy="epoch",
        logging_strategy="no",
        logging_nan_inf_filter=False,
        report_to=[],
        disable_tqdm=True,
        remove_unused_columns=False,
    )
    # Several GPUs would be used through DataParallel, which averages losses its own way.
    arguments._n_gpu = min(arguments.n_gpu, 1)
    return arguments
