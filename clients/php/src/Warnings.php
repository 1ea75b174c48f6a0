<?php

declare(strict_types=1);

namespace Kahe;

/**
 * Keeps the warnings of calls that may fail from the application's error handler, which may throw: `@` does not, as such
 * a handler is called for silenced warnings too. The application's handler is back when the call has ended.
 *
 * @internal
 */
final class Warnings
{
    /**
     * @template T
     * @param \Closure(): T $call    tells by its return value that it failed
     * @param string|null   $warning why, in PHP's words; '' when there was no warning
     * @return T
     */
    public static function off(\Closure $call, ?string &$warning = null): mixed
    {
        $warning = '';
        set_error_handler(static function (int $level, string $text) use (&$warning): bool {
            $warning = $text;

            return true;
        });
        try {
            return $call();
        } finally {
            restore_error_handler();
        }
    }
}
