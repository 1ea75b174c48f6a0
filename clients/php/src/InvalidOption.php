<?php

declare(strict_types=1);

namespace Kahe;

/** The client was constructed with an option that can't work. */
final class InvalidOption extends Exception
{
}
