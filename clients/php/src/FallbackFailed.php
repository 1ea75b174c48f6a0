<?php

declare(strict_types=1);

namespace Kahe;

/** The daemon failed, and the fallback file could not be written either. `frames` are in neither. */
final class FallbackFailed extends NotSent
{
}
