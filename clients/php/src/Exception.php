<?php

declare(strict_types=1);

namespace Kahe;

/** Everything this package throws on purpose. Catch a subclass to tell the cases apart; never match on the text. */
class Exception extends \RuntimeException
{
}
