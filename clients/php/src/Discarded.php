<?php

declare(strict_types=1);

namespace Kahe;

/** The daemon took the frames, and kept only some of them: it could keep no more rejected frames, and may discard them (REJECTED_FULL=drop). */
final class Discarded extends NotSent
{
}
