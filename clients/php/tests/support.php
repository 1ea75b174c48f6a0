<?php

// The little that the tests need: naming, asserting, a folder, and the fake daemon.

declare(strict_types=1);

namespace Kahe\Tests;

use Kahe\Warnings;

final class Failed extends \Exception
{
}

final class Runner
{
    /** @var array<string, \Closure> */
    private static array $tests = [];
    public static string $folder = '';

    public static function add(string $name, \Closure $test): void
    {
        self::$tests[$name] = $test;
    }

    /** @return int the exit code */
    public static function run(string $filter): int
    {
        [$passed, $failed] = [0, 0];
        foreach (self::$tests as $name => $test) {
            if ($filter !== '' && !str_contains($name, $filter)) {
                continue;
            }
            $reason = self::runOne($test);
            $reason === null ? $passed++ : $failed++;
            echo $reason === null ? "ok      $name\n" : "FAILED  $name\n        $reason\n";
        }
        echo "$passed passed, $failed failed\n";

        return $failed === 0 && $passed > 0 ? 0 : 1;
    }

    private static function runOne(\Closure $test): ?string
    {
        self::$folder = sys_get_temp_dir() . '/kahe-php-' . bin2hex(random_bytes(6));
        mkdir(self::$folder);
        ini_set('error_log', self::$folder . '/error.log');
        try {
            $test();
            return null;
        } catch (\Throwable $error) {
            return get_class($error) . ': ' . $error->getMessage() . "\n        " . self::where($error);
        } finally {
            FakeServer::killAll();
            removeFolder(self::$folder);
        }
    }

    private static function where(\Throwable $error): string
    {
        foreach ($error->getTrace() as $frame) {
            if (str_ends_with($frame['file'] ?? '', 'Test.php')) {
                return $frame['file'] . ':' . $frame['line'];
            }
        }

        return $error->getFile() . ':' . $error->getLine();
    }
}

function test(string $name, \Closure $test): void
{
    Runner::add($name, $test);
}

function same(mixed $expected, mixed $actual, string $what = 'value'): void
{
    if ($expected !== $actual) {
        throw new Failed("$what: expected " . shown($expected) . ', got ' . shown($actual));
    }
}

function isTrue(bool $condition, string $what): void
{
    same(true, $condition, $what);
}

/**
 * @template T of \Throwable
 * @param class-string<T> $class
 * @return T
 */
function throws(string $class, \Closure $action): \Throwable
{
    try {
        $action();
    } catch (\Throwable $error) {
        if (!$error instanceof $class) {
            throw $error;
        }
        return $error;
    }
    throw new Failed("expected $class, but nothing was thrown");
}

function shown(mixed $value): string
{
    $text = is_string($value) ? '(' . strlen($value) . ' bytes) ' . addcslashes($value, "\0..\37\177..\377") : var_export($value, true);

    return strlen($text) > 300 ? substr($text, 0, 300) . '…' : $text;
}

function folder(): string
{
    return Runner::$folder;
}

function errorLog(): string
{
    $path = folder() . '/error.log';

    return file_exists($path) ? file_get_contents($path) : '';
}

/** An application's error handler of the strictest kind: it throws for every warning, also for one that `@` silences. */
function throwAlways(int $level, string $message, string $file, int $line): never
{
    throw new \ErrorException($message, 0, $level, $file, $line);
}

/** Milliseconds that it took. */
function timed(\Closure $action): float
{
    $before = hrtime(true);
    $action();

    return (hrtime(true) - $before) / 1e6;
}

/** The frame as the design draws it, made another way than the client does. */
function frame(string $bucket, string $message, string $key = ''): string
{
    $body = pack('C', strlen($bucket)) . $bucket . pack('C', strlen($key)) . $key . $message;

    return pack('V', strlen($body)) . $body;
}

/** As the protocol has it: an ordinary frame of no bucket, with a key of its own. */
function reportQuestion(string $level = ''): string
{
    return frame('', $level, 'kahe?');
}

/** Connects until the listener's queue is full. @return non-empty-list<resource> the connections */
function fillBacklog(string $socket): array
{
    $connect = static fn () => stream_socket_client("unix://$socket", $code, $reason, 0.1);
    for ($waiting = []; ($stream = Warnings::off($connect)) !== false;) {
        $waiting[] = $stream;
    }

    return $waiting;
}

/** @return list<string> the files of a folder, sorted */
function filesIn(string $folder): array
{
    return is_dir($folder) ? array_values(array_diff(scandir($folder), ['.', '..'])) : [];
}

/** What all files of a folder hold, in the order of their names. */
function contentsOf(string $folder): string
{
    return implode('', array_map(static fn (string $name): string => file_get_contents("$folder/$name"), filesIn($folder)));
}

/** Runs PHP code in another process; $code may use $folder. @return array{code: int, output: string} */
function inProcess(string $code, string $shellBefore = ''): array
{
    $script = folder() . '/process-' . bin2hex(random_bytes(4)) . '.php';
    $preamble = '<?php require ' . var_export(dirname(__DIR__) . '/autoload.php', true) . '; require ' . var_export(__FILE__, true) . ';'
        . ' $folder = ' . var_export(folder(), true) . '; ini_set("error_log", "$folder/error.log");'
        . ' set_error_handler(Kahe\Tests\throwAlways(...));';
    file_put_contents($script, "$preamble\n$code");
    exec("$shellBefore exec " . escapeshellarg(PHP_BINARY) . ' ' . escapeshellarg($script) . ' 2>&1', $lines, $exit);

    return ['code' => $exit, 'output' => implode("\n", $lines)];
}

function removeFolder(string $folder): void
{
    foreach (filesIn($folder) as $name) {
        is_dir("$folder/$name") && !is_link("$folder/$name") ? removeFolder("$folder/$name") : unlink("$folder/$name");
    }
    rmdir($folder);
}

/** The fake daemon of server.php, in a process of its own. */
final class FakeServer
{
    /** @var list<self> */
    private static array $running = [];

    public readonly string $socket;
    private readonly string $report;
    /** @var resource */
    private $process;
    /** @var array<int, resource> */
    private array $pipes = [];

    /** @param array<string, mixed> $options as in server.php */
    public function __construct(array $options = [], string $name = 'kahe.sock')
    {
        $this->socket = folder() . "/$name";
        $this->report = folder() . '/report-' . bin2hex(random_bytes(4));
        $options += ['socket' => $this->socket, 'report' => $this->report];
        $command = [PHP_BINARY, __DIR__ . '/server.php', json_encode($options)];
        $this->process = proc_open($command, [['pipe', 'r'], ['pipe', 'w'], STDERR], $this->pipes);
        self::$running[] = $this;
        if (fgets($this->pipes[1]) !== "ready\n") {
            throw new Failed('the fake server did not start');
        }
    }

    /** A stuck server begins to read. */
    public function read(): void
    {
        fwrite($this->pipes[0], "read\n");
    }

    /**
     * Reads what was sent until all connections have ended, stops, and tells what came over each of them.
     *
     * @return list<string>
     */
    public function received(): array
    {
        fwrite($this->pipes[0], "finish\n");
        stream_get_contents($this->pipes[1]);
        $this->end();

        return unserialize(file_get_contents($this->report));
    }

    /** As kill -9 does: what it has not read is lost, and its socket file stays. */
    public function kill(): void
    {
        proc_terminate($this->process, 9);
        $this->end();
    }

    public static function killAll(): void
    {
        foreach (self::$running as $server) {
            $server->kill();
        }
    }

    private function end(): void
    {
        array_map(fclose(...), array_filter($this->pipes, is_resource(...)));
        proc_close($this->process);
        self::$running = array_values(array_filter(self::$running, fn (self $other): bool => $other !== $this));
    }
}
